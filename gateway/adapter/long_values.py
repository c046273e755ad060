"""Long values in protobuf's own form (`google.protobuf.Value`), written as JSON text in turns with everything else."""

import heapq
from collections.abc import AsyncIterator
from typing import Final, cast

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from gateway.adapter.proto_wire import LENGTH_DELIMITED, WireField, field_at, short_fields_end
from gateway.adapter.values import refuse_deeper, write_value
from gateway.core.errors import InvalidParams
from gateway.core.json_parts import Checkpoint, Span, decoded
from gateway.core.json_text import quote
from gateway.core.long_strings import joined
from gateway.core.model import JsonText

MAX_MEMBERS: Final = 1_000_000
"""How many members an object in protobuf's own form may have: they are sorted, which takes memory for each."""

_AT_ONCE: Final = 2 << 10
_QUOTED_AT_ONCE: Final = 16 << 10
_SORTED_AT_ONCE: Final = 2_048
_KIND: Final = {field.number: field.name for field in Value.DESCRIPTOR.fields}
_FIELDS: Final = Struct.FIELDS_FIELD_NUMBER
_FIELDS_TAG: Final = _FIELDS << 3 | LENGTH_DELIMITED
_SHORT_TEXTS: Final = 256
_VALUES: Final = ListValue.VALUES_FIELD_NUMBER
_VALUES_TAG: Final = _VALUES << 3 | LENGTH_DELIMITED
_KEY, _VALUE = 1, 2

_ValuePath = tuple[str | int, ...]


async def long_value_to_text(data: bytes, start: int, stop: int, checkpoint: Checkpoint, *path: str | int) -> JsonText:
    """The JSON text of a serialized Value, as `values.value_to_text` writes it.

    Raises InvalidParams as that does, or if an object has more than MAX_MEMBERS members; DecodeError if the message is
    malformed.
    """
    steps = joined(await long_value_parts(data, start, stop, checkpoint, *path))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(JsonText, end.value)
        await checkpoint()


async def long_value_parts(data: bytes, start: int, stop: int, checkpoint: Checkpoint, *path: str | int) -> list[str]:
    """That text in short parts. Raises as `long_value_to_text` does."""
    writer = _LongValueWriter(data, checkpoint)
    await writer.write(start, stop, path, 0)
    return writer.parts


class _LongValueWriter:
    """Writes values in a message. `parts` is their text."""

    def __init__(self, data: bytes, checkpoint: Checkpoint) -> None:
        self._data = data
        self._checkpoint = checkpoint
        self.parts: list[str] = []

    async def write(self, start: int, stop: int, path: _ValuePath, depth: int) -> None:
        """Write a Value at a depth."""
        spans: list[Span] = []
        kind = ""
        if stop - start > _AT_ONCE:
            async for field in self._fields(start, stop):
                name = _KIND.get(field.number, "")
                if name and name != kind:
                    # Of several kinds the last one counts. Those of the same kind are one, if they are messages.
                    kind, spans = name, []
                if name:
                    spans.append(Span(field.start, field.stop))
        if kind == "string_value":
            await self._write_string(spans[-1], path)
        elif kind == "list_value":
            refuse_deeper(depth, path)
            await self._write_array(spans, path, depth + 1)
        elif kind == "struct_value":
            refuse_deeper(depth, path)
            await self._write_object(spans, path, depth + 1)
        else:
            self._write_short(Value.FromString(self._data[start:stop]), path, depth)
            await self._checkpoint()

    def _write_short(self, value: Value, path: _ValuePath, depth: int) -> None:
        parts: list[str] = []
        write_value(value, parts, path, depth)
        self.parts.append("".join(parts))

    async def _write_string(self, span: Span, path: _ValuePath) -> None:
        text = await decoded(self._data, span, self._checkpoint, *path)
        await self._checkpoint()
        self.parts.append('"')
        for start in range(0, len(text), _QUOTED_AT_ONCE):
            self.parts.append(quote(text[start : start + _QUOTED_AT_ONCE])[1:-1])
            await self._checkpoint()
        self.parts.append('"')

    async def _write_array(self, spans: list[Span], path: _ValuePath, depth: int) -> None:
        number = 0
        for span in spans:
            number = await self._write_elements(span, path, depth, number)
        self.parts.append("]" if number else "[]")

    async def _write_elements(self, span: Span, path: _ValuePath, depth: int, number: int) -> int:
        """Write the elements in a ListValue, before which there are so many, and return how many there are then."""
        place, stop = span
        while place < stop:
            end = short_fields_end(self._data, place, stop, _VALUES_TAG, _AT_ONCE)
            if end > place:
                texts: list[str] = []
                for value in ListValue.FromString(self._data[place:end]).values:
                    texts.append("," if number else "[")
                    write_value(value, texts, (*path, number), depth)
                    number += 1
                self.parts.append("".join(texts))
                place = end
            else:
                field = field_at(self._data, place, stop)
                place = field.stop
                if (field.number, field.kind) == (_VALUES, LENGTH_DELIMITED):
                    self.parts.append("," if number else "[")
                    await self.write(field.start, field.stop, (*path, number), depth)
                    number += 1
            await self._checkpoint()
        return number

    async def _write_object(self, spans: list[Span], path: _ValuePath, depth: int) -> None:
        members = await self._members(spans, path, depth)
        names = list(members)
        runs: list[list[str]] = []
        for start in range(0, len(names), _SORTED_AT_ONCE):
            runs.append(sorted(names[start : start + _SORTED_AT_ONCE]))
            await self._checkpoint()
        texts: list[str] = []
        opening = "{"
        for name in heapq.merge(*runs):
            texts.append(f"{opening}{quote(name)}:")
            opening = ","
            member = members[name]
            if isinstance(member, str):
                texts.append(member)
            if not isinstance(member, str) or len(texts) > _SHORT_TEXTS:
                self.parts.append("".join(texts))
                texts = []
                await self._checkpoint()
            if not isinstance(member, str):
                await self.write(member.start, member.stop, (*path, name), depth)
        self.parts.append("".join([*texts, "}" if names else "{}"]))

    async def _members(self, spans: list[Span], path: _ValuePath, depth: int) -> dict[str, Span | JsonText]:
        """The texts of the values of an object, or where long ones are; of repeated names the last one counts."""
        members: dict[str, Span | JsonText] = {}
        for span in spans:
            place = span.start
            while place < span.stop:
                end = short_fields_end(self._data, place, span.stop, _FIELDS_TAG, _AT_ONCE)
                if end > place:
                    for name, value in Struct.FromString(self._data[place:end]).fields.items():
                        text: list[str] = []
                        write_value(value, text, (*path, name), depth)
                        members[name] = "".join(text)
                else:
                    entry = field_at(self._data, place, span.stop)
                    end = entry.stop
                    if (entry.number, entry.kind) == (_FIELDS, LENGTH_DELIMITED):
                        name, value_span = await self._member(entry, path)
                        members[name] = value_span
                place = end
                if len(members) > MAX_MEMBERS:
                    raise InvalidParams.field(*path, description=f"more than {MAX_MEMBERS:,} members: send it as json")
                await self._checkpoint()
        return members

    async def _member(self, entry: WireField, path: _ValuePath) -> tuple[str, Span]:
        """The name of a member, and where its value is."""
        name, value = "", Span(entry.stop, entry.stop)
        async for field in self._fields(entry.start, entry.stop):
            if (field.number, field.kind) == (_KEY, LENGTH_DELIMITED):
                name = await decoded(self._data, Span(field.start, field.stop), self._checkpoint, *path)
            elif (field.number, field.kind) == (_VALUE, LENGTH_DELIMITED):
                value = Span(field.start, field.stop)
        return name, value

    async def _fields(self, start: int, stop: int) -> AsyncIterator[WireField]:
        while start < stop:
            field = field_at(self._data, start, stop)
            start = field.stop
            await self._checkpoint()
            yield field
