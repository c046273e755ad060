"""Texts as search attributes hold them: engines take short ones, without the character NUL.

A search attribute may have 2 KiB as JSON, a list of them together, and databases keep 255 characters of a text. What
is cut off here is not found more precisely: who looks for runs asks for the same part, and compares what is found.
"""

import hashlib
import json
from typing import Final

MAX_CHARACTERS: Final = 255
MAX_BYTES: Final = 2_000
"""How long a text is at most: in characters, and as JSON in ASCII."""

MAX_LABEL: Final = 56
"""How many bytes a label has there, so that there is room for as many as a run may have."""

_CUT: Final = "\1"
"""Stands for a NUL and all that follows, so that the text is no other one."""

_SHOWN: Final = 24
_DIGITS: Final = 24
"""How many characters of a longer label are there, before so many digits of a digest of all of it."""


def search_text(text: str) -> str:
    """As much of the beginning of a text as there is room for. The beginning of a text has a beginning of it."""
    before, nul, _ = text.partition("\0")
    text = f"{before}{_CUT if nul else ''}"[:MAX_CHARACTERS]
    if _size(text) <= MAX_BYTES:
        return text
    left = MAX_BYTES
    for place, character in enumerate(text):
        left -= _size(character)
        if left < 0:
            return text[:place]
    return text


def search_label(name: str, value: str) -> str:
    """A label as one text: `name=value` if it is short, else its beginning and a digest."""
    text = f"{name}={value}"
    if _size(text) <= MAX_LABEL and "\0" not in text:
        return text
    beginning = text[:_SHOWN]
    if not (beginning.isascii() and beginning.isprintable()) or '"' in beginning or "\\" in beginning:
        beginning = ""
    return f"{beginning}#{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def _size(text: str) -> int:
    return len(json.dumps(text)) - 2
