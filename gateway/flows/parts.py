"""Parts of documents: flows and overrides. A short part is a text, a long one a span, which has no text of its own.

The functions raise InvalidParams, with the path that they were given, if a part is not what they read.
"""

from gateway.core import json_text
from gateway.core.errors import InvalidParams
from gateway.core.json_layout import SHORT, Layout, Part, Steps
from gateway.core.model import JsonText

_STEP = 128
"""How many members or elements a step looks at."""


def part_of(text: JsonText) -> Steps[Part]:
    """A document as a part: a long one is looked at as a whole, once."""
    return text if len(text) < SHORT else (yield from Layout.of(text)).whole()


def text_of(part: Part) -> JsonText:
    """The text of a part."""
    return part if isinstance(part, str) else part.text


def length_of(part: Part) -> int:
    """How many characters a part has."""
    return len(part) if isinstance(part, str) else part.end - part.start


def begins_with(part: Part, character: str) -> bool:
    """Whether the text begins with this character."""
    return part.startswith(character) if isinstance(part, str) else part.begins_with(character)


def members(part: Part, *path: str | int) -> Steps[dict[str, Part]]:
    """The members of an object, in order; of repeated keys the last one counts."""
    if isinstance(part, str):
        short: dict[str, Part] = json_text.members(part, *path)  # type: ignore[assignment]
        return short
    if not part.begins_with("{"):
        raise InvalidParams.field(*path, description="expected an object")
    found: dict[str, Part] = {}
    for number, child in enumerate(part.layout.children(part.start)):
        if child is not None:
            found[str(child[0])] = part.part(child)
        if child is None or number % _STEP == _STEP - 1:
            yield
    return found


def elements(part: Part, *path: str | int) -> Steps[list[Part]]:
    """The elements of an array."""
    if isinstance(part, str):
        short: list[Part] = json_text.elements(part, *path)  # type: ignore[assignment]
        return short
    if not part.begins_with("["):
        raise InvalidParams.field(*path, description="expected an array")
    found: list[Part] = []
    for number, child in enumerate(part.layout.children(part.start)):
        if child is not None:
            found.append(part.part(child))
        if child is None or number % _STEP == _STEP - 1:
            yield
    return found
