"""JSON values as text, sliced one level at a time.

Nothing here turns a payload into Python numbers or strings unless it is asked for exactly that, so that integers of any
size, decimals, the order of keys and the spelling of everything pass through unchanged.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from gateway.model import JsonText

NULL: JsonText = "null"

Key: TypeAlias = str | int
"""Where a value is in the one around it: the name of a member, or an index."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_INTEGER = re.compile(r"(-?\d{1,20})(?:\.0{1,20})?")


class NotSliceable(Exception):
    """A text is no JSON, or nested too deeply to be read."""


class Value:
    """A JSON value: its text, and what has been sliced out of it so far."""

    __slots__ = ("_parts", "text")

    def __init__(self, text: JsonText) -> None:
        self.text = text
        self._parts: dict[str, msgspec.Raw | Value] | list[msgspec.Raw | Value] | None = None

    def get(self, key: Key) -> "Value | None":
        """The member with this name, or the element with this index; None if there is none. May raise NotSliceable."""
        parts = self._parts
        if parts is None:
            parts = self._parts = self._slice()
        if isinstance(parts, dict):
            if not isinstance(key, str) or (part := parts.get(key)) is None:
                return None
            if not isinstance(part, Value):
                part = parts[key] = Value(str(part, "utf-8"))
            return part
        if isinstance(key, str) or key >= len(parts):
            return None
        part = parts[key]
        if not isinstance(part, Value):
            part = parts[key] = Value(str(part, "utf-8"))
        return part

    def _slice(self) -> "dict[str, msgspec.Raw | Value] | list[msgspec.Raw | Value]":
        if self.text[0] == "{":
            return {**_slice_object(self.text)}
        if self.text[0] == "[":
            return [*_slice_array(self.text)]
        return []


def object_members(text: JsonText) -> dict[str, JsonText] | None:
    """The members of an object; None if the value is none. May raise NotSliceable."""
    if not text.startswith("{"):
        return None
    return {name: str(raw, "utf-8") for name, raw in _slice_object(text).items()}


def array_elements(text: JsonText) -> list[JsonText] | None:
    """The elements of an array; None if the value is none. May raise NotSliceable."""
    if not text.startswith("["):
        return None
    return [str(raw, "utf-8") for raw in _slice_array(text)]


def string(text: JsonText) -> str | None:
    """The characters of a string; None if the value is none."""
    return _STRING.decode(text) if text.startswith('"') else None


def integer(text: JsonText) -> int | None:
    """A whole number; None if the value is none. `3.0` is one: some clients only know floating point numbers."""
    match = _INTEGER.fullmatch(text)
    return int(match[1]) if match else None


def quote(characters: str) -> JsonText:
    """The text of a string."""
    return msgspec.json.encode(characters).decode()


def write_object(members: Mapping[str, JsonText]) -> JsonText:
    """The text of an object."""
    return "{" + ",".join(f"{quote(name)}:{text}" for name, text in members.items()) + "}"


def write_array(elements: Iterable[JsonText]) -> JsonText:
    """The text of an array."""
    return "[" + ",".join(elements) + "]"


def _slice_object(text: JsonText) -> dict[str, msgspec.Raw]:
    try:
        return _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _not_sliceable(error) from error


def _slice_array(text: JsonText) -> list[msgspec.Raw]:
    try:
        return _ARRAY.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _not_sliceable(error) from error


def _not_sliceable(error: Exception) -> NotSliceable:
    return NotSliceable("nested too deeply" if isinstance(error, RecursionError) else "not JSON")
