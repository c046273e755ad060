"""What a parser reads as a whole of a long protobuf message: made of few fields before.

Unknown fields are left out, fields that come too often are refused, and values in protobuf's own form become JSON. So
what is left costs a parser no more than its strings do.
"""

from collections import Counter
from functools import cache
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.adapter.long_values import long_value_to_text
from gateway.adapter.proto_wire import LENGTH_DELIMITED, WireField, field_at, length_prefix
from gateway.core.errors import MAX_NAME_CHARACTERS, InvalidRequest
from gateway.core.json_parts import Checkpoint
from gateway.core.json_text import MAX_MEMBERS, too_many
from runs.v1 import runs_pb2

_JSON_VALUE: Final = runs_pb2.JsonValue.DESCRIPTOR.full_name
_JSON: Final = runs_pb2.JsonValue.JSON_FIELD_NUMBER
_VALUE: Final = runs_pb2.JsonValue.VALUE_FIELD_NUMBER
_KEY: Final = 1
"""The number of the key in a member of a map."""

_FIXED: Final = {
    FieldDescriptor.TYPE_DOUBLE: 1,
    FieldDescriptor.TYPE_FIXED64: 1,
    FieldDescriptor.TYPE_SFIXED64: 1,
    FieldDescriptor.TYPE_FLOAT: 5,
    FieldDescriptor.TYPE_FIXED32: 5,
    FieldDescriptor.TYPE_SFIXED32: 5,
    FieldDescriptor.TYPE_STRING: LENGTH_DELIMITED,
    FieldDescriptor.TYPE_BYTES: LENGTH_DELIMITED,
    FieldDescriptor.TYPE_MESSAGE: LENGTH_DELIMITED,
}
"""The types on the wire; those of all others are numbers of variable length, 0."""


class FewFields:
    """Takes the fields of one message, and of those inside it. `checkpoint` is awaited after each.

    Raises InvalidParams if a field that may be repeated, as the members of maps are, comes more than MAX_MEMBERS times,
    InvalidRequest if there are as many other fields that are unknown or repeat one; DecodeError if one is malformed.
    """

    def __init__(
        self,
        data: bytes,
        message: Descriptor,
        checkpoint: Checkpoint,
        path: tuple[str, ...] = (),
        numbers: "Counter[tuple[str, ...]] | None" = None,
    ) -> None:
        self._data = data
        self._message = message
        self._checkpoint = checkpoint
        self._path = path
        self._numbers = Counter() if numbers is None else numbers
        self._seen: set[int] = set()

    def count(self, field: WireField) -> FieldDescriptor | None:
        """Count a field. Returns its descriptor; None if it is unknown."""
        known = _known_fields(self._message).get((field.number, field.kind))
        if known is None:
            self._count()
            return None
        if known.is_repeated:
            self._count(*self._path, known.name)
        elif field.number in self._seen:
            self._count()
        self._seen.add(field.number)
        return known

    async def take(self, place: int, field: WireField) -> list[bytes]:
        """A field that begins at a place, in parts; none if it is unknown."""
        known = self.count(field)
        await self._checkpoint()
        if known is None:
            return []
        if known.message_type is None:
            if _is_member(self._message) and field.number == _KEY:
                name = self._data[field.start : min(field.stop, field.start + 4 * MAX_NAME_CHARACTERS)]
                self._path = (*self._path, name.decode(errors="ignore"))
            return [self._data[place : field.stop]]
        path = self._path if _is_member(self._message) else (*self._path, known.name)
        if known.message_type.full_name == _JSON_VALUE:
            parts = await self._json_value(field, path)
        else:
            inside = FewFields(self._data, known.message_type, self._checkpoint, path, self._numbers)
            parts = await inside.take_all(field.start, field.stop)
        return [length_prefix(field.number, sum(map(len, parts))), *parts]

    async def take_all(self, start: int, stop: int) -> list[bytes]:
        """All fields of the message, in parts."""
        parts: list[bytes] = []
        while start < stop:
            field = field_at(self._data, start, stop)
            parts += await self.take(start, field)
            start = field.stop
        return parts

    async def _json_value(self, value: WireField, path: tuple[str, ...]) -> list[bytes]:
        """A JsonValue. Of several members of a oneof, the last one counts."""
        last: WireField | None = None
        place = value.start
        while place < value.stop:
            field = field_at(self._data, place, value.stop)
            known = field.kind == LENGTH_DELIMITED and field.number in (_JSON, _VALUE)
            if last or not known:
                self._count()
            last = field if known else last
            place = field.stop
            await self._checkpoint()
        if last is None:
            return []
        if last.number == _JSON:
            content = self._data[last.start : last.stop]
        else:
            text = await long_value_to_text(self._data, last.start, last.stop, self._checkpoint, *path, "value")
            content = text.encode()
        return [length_prefix(_JSON, len(content)), content]

    def _count(self, *path: str) -> None:
        self._numbers[path] += 1
        if self._numbers[path] > MAX_MEMBERS:
            if path:
                raise too_many(*path)
            raise InvalidRequest(f"the request has more than {MAX_MEMBERS:,} fields that are unknown or repeat others")


@cache
def _known_fields(message: Descriptor) -> dict[tuple[int, int], FieldDescriptor]:
    """The fields of a message by their numbers and their types on the wire."""
    return {(field.number, _FIXED.get(field.type, 0)): field for field in message.fields}


@cache
def _is_member(message: Descriptor) -> bool:
    """Whether messages of a type are members of a map."""
    return bool(message.GetOptions().map_entry)
