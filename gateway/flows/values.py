"""JSON values as text, sliced only where an expression looks into them.

Nothing turns a payload into Python numbers or strings, so that integers of any size, decimals, the order of keys and
the spelling of everything pass through unchanged.

A short value is parsed level by level, as deep as paths go. That would be slow for a long one, and take memory for
each part of it; so the parts of a long value are looked up together, in one pass and in steps, and only their places
are kept.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from gateway.core.json_layout import Steps
from gateway.core.json_text import quote
from gateway.core.long_strings import cut
from gateway.core.model import JsonText
from gateway.flows.look_up import PathKeys, Places
from gateway.flows.task import UNUSABLE_VALUE, ItemFailure

NULL: JsonText = "null"

ALWAYS_SHORT: Final = 1 << 16
"""Values of up to so many characters are short."""

SHORT_CHARACTERS: Final = 1 << 20
SHORT_COMMAS: Final = 1 << 13
"""Other values are short if they have at most so many characters and commas."""

MAX_PARSED: Final = 4 * SHORT_CHARACTERS
"""A value becomes a long one when a path would parse more characters than this, since its parts nest deeply."""

_Parsed: TypeAlias = "msgspec.Raw | Value"

_OBJECT: msgspec.json.Decoder[dict[str, _Parsed]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: msgspec.json.Decoder[list[_Parsed]] = msgspec.json.Decoder(list[msgspec.Raw])


class NotLookedUp(Exception):
    """A part of a long value has not been looked up yet."""


class Value(msgspec.Struct, eq=False):
    """A JSON value: its text, and the parts that have been sliced out of it, or looked up, so far."""

    text: JsonText
    _members: "dict[str, _Parsed] | None" = None
    _elements: "list[_Parsed] | None" = None
    _places: Places | None = None

    def find(self, keys: PathKeys) -> JsonText | None:
        """Return the part at the end of these keys; None if it does not exist.

        Raises NotLookedUp if the value is long, and `look_up` has not been called with these keys. Raises ItemFailure
        if a short value nests too deeply to be parsed.
        """
        if len(self.text) > ALWAYS_SHORT and keys:
            return self._find_in_large(keys)
        value = self
        try:
            for key in keys:
                part = value._member(key) if isinstance(key, str) else value._element(key)
                if part is None:
                    return None
                value = part
        except RecursionError:
            raise _too_deep() from None
        return value.text

    def look_up(self, paths: Iterable[PathKeys]) -> Steps[None]:
        """Look up the parts at the ends of these keys, so that `find` returns them."""
        if self._places is None:
            self._places = Places(self.text)
        yield from self._places.look_up(paths)

    def part(self, keys: PathKeys) -> Steps[JsonText | None]:
        """What `find` returns, cut out in steps."""
        place = None if self._places is None else self._places.found.get(keys)
        if place is None:
            return self.find(keys)
        return (yield from cut(self.text, *place))

    def _find_in_large(self, keys: PathKeys) -> JsonText | None:
        places = self._places
        if places is None:
            if len(self.text) <= SHORT_CHARACTERS and self.text.count(",") <= SHORT_COMMAS:
                return self._parse(keys)
            raise NotLookedUp
        if keys not in places.found:
            raise NotLookedUp
        place = places.found[keys]
        return None if place is None else self.text[place[0] : place[1]]

    def _parse(self, keys: PathKeys) -> JsonText | None:
        """Parse as `find` does, but not for long."""
        room = MAX_PARSED
        value: Value = self
        for number, key in enumerate(keys):
            room -= len(value.text)
            if room < 0:
                raise NotLookedUp
            if len(value.text) <= ALWAYS_SHORT:
                return value.find(keys[number:])
            try:
                part = value._member(key) if isinstance(key, str) else value._element(key)
            except RecursionError:
                raise _too_deep() from None
            if part is None:
                return None
            value = part
        return value.text

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


def _too_deep() -> ItemFailure:
    return ItemFailure.of(UNUSABLE_VALUE, "a value is nested too deeply to be looked into")


def write_object(members: Mapping[str, JsonText]) -> JsonText:
    """The text of an object."""
    return "{" + ",".join(f"{quote(name)}:{text}" for name, text in members.items()) + "}"


def write_array(elements: Iterable[JsonText]) -> JsonText:
    """The text of an array."""
    return "[" + ",".join(elements) + "]"
