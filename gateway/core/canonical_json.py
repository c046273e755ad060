"""The canonical form of JSON values: texts that mean the same have the same form.

White space, escapes, the order of members and the spelling of numbers do not count; numbers are compared exactly. Of
repeated members the last one counts, at its value. `short_form` has the parser do all that. `gateway.core.long_forms`
makes the forms of long texts in steps, and stores no more of them than it must: a form that is too long is replaced by
its digest. This depends on the form, and not on how the text is spelled, so that both ways lead to the same.
"""

import hashlib
import json
from typing import Final

import msgspec

from gateway.core.json_numbers import canonical_number, has_long_integer, has_respelled
from gateway.core.model import JsonText

SHORT_TEXT: Final = 10 << 10
"""Texts of up to so many characters are put into their form at once: some 0.2 ms."""

RESPELLED_TEXT: Final = 1 << 10
"""The same for texts with numbers that are not in their form: each of these takes a microsecond."""

MAX_FORM: Final = 64 << 10
"""Longer forms, in bytes, are replaced by their digests. That of a short text never is: a character of it becomes five
bytes at most (`1e19`)."""


def _number(literal: str) -> msgspec.Raw:
    return msgspec.Raw(canonical_number(literal))


_DECODER: Final = msgspec.json.Decoder(float_hook=msgspec.Raw)
_RESPELLING_DECODER: Final = msgspec.json.Decoder(float_hook=_number)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


NotJson: Final = (ValueError, msgspec.DecodeError)
"""What `short_form` raises if a text is not JSON."""


def is_short(text: JsonText) -> bool:
    """Whether a text is put into its form at once."""
    return len(text) <= RESPELLED_TEXT or (len(text) <= SHORT_TEXT and not has_respelled(text))


def short_form(text: JsonText) -> bytes:
    """The form of a short text. Raises RecursionError if it nests too deeply for a parser."""
    if not has_respelled(text):
        return _ENCODER.encode(_DECODER.decode(text))
    if has_long_integer(text):
        return _ENCODER.encode(json.loads(text, parse_int=_number, parse_float=_number))
    return _ENCODER.encode(_RESPELLING_DECODER.decode(text))


def encode_form(value: str | dict[str, msgspec.Raw]) -> bytes:
    """The form of a string, or of an object whose members are forms."""
    return _ENCODER.encode(value)


def digest_form(digest: "hashlib._Hash") -> bytes:
    """What stands for a long form: a number that is spelled as no form is."""
    return b"-0e%d" % int.from_bytes(digest.digest())
