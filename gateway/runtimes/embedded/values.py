"""JSON values as text, sliced only where an expression looks into them.

Nothing turns a payload into Python numbers or strings, so that integers of any size, decimals, the order of keys and
the spelling of everything pass through unchanged.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from gateway.core.json_text import quote
from gateway.core.model import JsonText
from gateway.runtimes.embedded.task import UNUSABLE_VALUE, ItemFailure

NULL: JsonText = "null"

Key: TypeAlias = str | int
"""The position of a value in the one around it: the name of a member, or an index."""

_OBJECT: msgspec.json.Decoder[dict[str, "msgspec.Raw | Value"]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: msgspec.json.Decoder[list["msgspec.Raw | Value"]] = msgspec.json.Decoder(list[msgspec.Raw])


class Value:
    """A JSON value: its text, and the parts that have been sliced out of it so far."""

    __slots__ = ("_elements", "_members", "text")

    def __init__(self, text: JsonText) -> None:
        self.text = text
        self._members: dict[str, msgspec.Raw | Value] | None = None
        self._elements: list[msgspec.Raw | Value] | None = None

    def get(self, key: Key) -> "Value | None":
        """Return the member with this name, or the element with this index; None if it does not exist.

        Raises ItemFailure if the value nests too deeply to be parsed.
        """
        try:
            return self._member(key) if isinstance(key, str) else self._element(key)
        except RecursionError:
            raise ItemFailure.of(UNUSABLE_VALUE, "a value is nested too deeply to be looked into") from None

    def _member(self, name: str) -> "Value | None":
        members = self._members
        if members is None:
            members = self._members = _OBJECT.decode(self.text) if self.text.startswith("{") else {}
        member = members.get(name)
        if isinstance(member, msgspec.Raw):
            member = members[name] = Value(str(member, "utf-8"))
        return member

    def _element(self, index: int) -> "Value | None":
        elements = self._elements
        if elements is None:
            elements = self._elements = _ARRAY.decode(self.text) if self.text.startswith("[") else []
        if index >= len(elements):
            return None
        element = elements[index]
        if isinstance(element, msgspec.Raw):
            element = elements[index] = Value(str(element, "utf-8"))
        return element


def write_object(members: Mapping[str, JsonText]) -> JsonText:
    """The text of an object."""
    return "{" + ",".join(f"{quote(name)}:{text}" for name, text in members.items()) + "}"


def write_array(elements: Iterable[JsonText]) -> JsonText:
    """The text of an array."""
    return "[" + ",".join(elements) + "]"
