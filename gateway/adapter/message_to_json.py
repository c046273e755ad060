"""Messages in protobuf's bytes as JSON, in turns with everything else.

Of a long message, the fields are found first, and each is written by itself.
"""

from binascii import b2a_base64
from collections.abc import Iterator
from typing import Final, NamedTuple, cast

import msgspec
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.adapter.byte_pieces import BytePieces
from gateway.adapter.long_values import long_value_parts
from gateway.adapter.message_json import VALUE, Hold, elements_written, values_of_map, written
from gateway.adapter.proto_wire import LENGTH_DELIMITED, field_at, short_fields_end
from gateway.concurrency.time_slice import Checkpoints, in_slices
from gateway.core.json_parts import LONG_TEXT
from gateway.core.json_text import quote

_RUN: Final = 4 << 10
"""About how many bytes of short elements are written at once."""

_AT_ONCE: Final = 12 << 10
"""How much of a string is written at once: so many bytes are whole groups of base64."""

_KEY, _OF_MEMBER = 1, 2
"""The numbers of the fields of a member of a map."""


class _Found(NamedTuple):
    """Fields that follow each other: where they begin and end, and where the content of the only one begins."""

    start: int
    stop: int
    content: int


async def to_json(data: bytes, kind: type[Message], pace: Checkpoints, hold: Hold) -> bytes:
    """The text of a message, which this gateway has made. `hold` is told how many bytes more are held; it may raise."""
    if len(data) <= LONG_TEXT:
        message = kind.FromString(data)
        await pace.checkpoint()
        members = await in_slices(written(message), pace)
        await pace.checkpoint()
        text = msgspec.json.encode(members)
        hold(len(text))
        return text
    writer = _LongWriter(pace, hold)
    await writer.message(cast(Descriptor, kind.DESCRIPTOR), data, 0, len(data))
    return await writer.text.joined(pace.checkpoint)


class _LongWriter:
    """Writes messages to `text`."""

    def __init__(self, pace: Checkpoints, hold: Hold) -> None:
        self.text = BytePieces()
        self._pace = pace
        self._hold = hold
        self._checkpoint = pace.checkpoint

    def _write(self, part: bytes) -> None:
        self._hold(len(part))
        self.text.add(part)

    async def message(self, descriptor: Descriptor, data: bytes, start: int, stop: int) -> None:
        """Write a message that is somewhere in `data`."""
        if descriptor.full_name == VALUE:
            for part in await long_value_parts(data, start, stop, self._checkpoint):
                self._write(part.encode())
                await self._checkpoint()
            return
        found = await self._fields(descriptor, data, start, stop)
        opening = "{"
        for number in sorted(found):
            field = descriptor.fields_by_number[number]
            self._write(f'{opening}"{field.json_name}":'.encode())
            opening = ","
            await self._field(descriptor, field, data, found[number])
        self._write(b"{}" if opening == "{" else b"}")

    async def _fields(self, descriptor: Descriptor, data: bytes, place: int, end: int) -> dict[int, list[_Found]]:
        """Where the fields are, by their numbers."""
        found: dict[int, list[_Found]] = {}
        while place < end:
            field = field_at(data, place, end)
            stop = field.stop
            known = descriptor.fields_by_number.get(field.number)
            if known is not None:
                tag = data[place]
                if known.is_repeated and field.kind == LENGTH_DELIMITED and tag < 0x80 and stop - place <= _RUN:
                    stop = max(stop, short_fields_end(data, place, end, tag, _RUN))
                found.setdefault(field.number, []).append(_Found(place, stop, field.start))
            place = stop
            await self._checkpoint()
        return found

    async def _field(self, descriptor: Descriptor, field: FieldDescriptor, data: bytes, found: list[_Found]) -> None:
        if field.is_repeated:
            await self._elements(descriptor, field, data, found)
        elif field.message_type is not None:
            if len(found) > 1:  # They are parts of one message.
                data = b"".join(data[each.content : each.stop] for each in found)
                found = [_Found(0, len(data), 0)]
            await self._single(field, data, found[0].content, found[0].stop)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            await self._single(field, data, found[-1].content, found[-1].stop)
        else:
            last = found[-1]
            members = await in_slices(written(_class(descriptor).FromString(data[last.start : last.stop])), self._pace)
            self._write(msgspec.json.encode(members[field.json_name]))

    async def _elements(self, descriptor: Descriptor, field: FieldDescriptor, data: bytes, found: list[_Found]) -> None:
        of = values_of_map(field)
        separator = b"[" if of is None else b"{"
        self._write(separator)
        separator = b""
        for start, stop, content in found:
            self._write(separator)
            separator = b","
            if stop - start > LONG_TEXT and (field.message_type or field.type == FieldDescriptor.TYPE_STRING):
                await (self._single if of is None else self._member)(of or field, data, content, stop)
                continue
            message = _class(descriptor).FromString(data[start:stop])
            if of is None:
                values = await in_slices(elements_written(field, getattr(message, field.name)), self._pace)
            else:
                values = (await in_slices(written(message), self._pace))[field.json_name]
            self._write(msgspec.json.encode(values)[1:-1])
        self._write(b"]" if of is None else b"}")

    async def _member(self, of: FieldDescriptor, data: bytes, start: int, stop: int) -> None:
        """A long member of a map."""
        entry = cast(Descriptor, of.containing_type)
        found = await self._fields(entry, data, start, stop)
        key = b"" if _KEY not in found else data[found[_KEY][-1].content : found[_KEY][-1].stop]
        self._write(f"{quote(key.decode())}:".encode())
        await self._field(entry, of, data, found[_OF_MEMBER])

    async def _single(self, field: FieldDescriptor, data: bytes, start: int, stop: int) -> None:
        """One value of a field that is a message, a string or bytes."""
        if field.message_type is not None:
            if stop - start > LONG_TEXT:
                await self.message(field.message_type, data, start, stop)
            else:
                message = _class(field.message_type).FromString(data[start:stop])
                self._write(msgspec.json.encode(await in_slices(written(message), self._pace)))
            return
        self._write(b'"')
        for part in _pieces(data, start, stop, whole=field.type == FieldDescriptor.TYPE_BYTES):
            if field.type == FieldDescriptor.TYPE_BYTES:
                self._write(b2a_base64(part, newline=False))
            else:
                self._write(msgspec.json.encode(part.decode())[1:-1])
            await self._checkpoint()
        self._write(b'"')


def _pieces(content: bytes, start: int, end: int, *, whole: bool) -> Iterator[bytes]:
    """Yield bytes in pieces; `whole` ones, or such as end with a character of UTF-8."""
    while start < end:
        stop = min(start + _AT_ONCE, end)
        while not whole and stop < end and content[stop] & 0xC0 == 0x80:
            stop -= 1
        yield content[start:stop]
        start = stop


def _class(descriptor: Descriptor) -> type[Message]:
    return message_factory.GetMessageClass(descriptor)
