"""Messages in JSON as protobuf's bytes, in turns with everything else.

Of a long text, members and runs of elements are found first, and each becomes the bytes of its field by itself. A text
of 60 MB, or 8,000,000 elements, holds nobody up.
"""

import binascii
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, cast

import msgspec
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from gateway.adapter.byte_pieces import BytePieces
from gateway.adapter.contract_paths import in_contract
from gateway.adapter.message_json import (
    TEXTS,
    VALUE,
    Hold,
    decoded_json,
    field_named,
    read,
    read_elements,
    read_field,
    takes_null,
    values_of_map,
)
from gateway.adapter.proto_wire import length_prefix
from gateway.adapter.repeated_members import refuse_repeated
from gateway.adapter.value_json import fill_value
from gateway.adapter.values import refuse_deeper
from gateway.concurrency.time_slice import Checkpoints, in_slices
from gateway.core.errors import InvalidParams, InvalidRequest, Path
from gateway.core.json_parts import (
    LONG_TEXT,
    MemberRepeated,
    NameTooLong,
    Span,
    check_json,
    element_runs,
    member_spans,
    stripped,
)
from gateway.core.json_text import MAX_MEMBERS, too_many
from gateway.core.json_walk import MOST_CONTINUED, WINDOW

_UNITS: Final = re.compile(
    rb"(?:[^\\]++|\\(?:[^u]|u(?![dD][89abAB])[0-9a-fA-F]{4}|u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}))*+", re.DOTALL
)
"""What may be cut off from the inside of a string: whole escapes, and pairs of them that are one character."""

_STRING_AT_ONCE: Final = 16 << 10
_STRIDE: Final = 64
_BRACKETS: Final = 8_000
"""How many brackets a text may have that is read at once: each stands for an object, of which many take long."""

MOST_FACTOR: Final = 6
"""How many bytes of protobuf a byte of JSON stands for at most: a number of an array that is a Value."""

_HEADS: Final = 12
"""About what stands before the parts of a member."""

_KEY, _OF_MEMBER = 1, 2
"""The numbers of the fields of a member of a map."""


async def from_json(data: bytes, kind: type[Message], pace: Checkpoints, hold: Hold) -> bytes:
    """The bytes of protobuf of the message that a text is. `hold` is told how many bytes more are held; it may raise.

    Raises InvalidRequest if it is no JSON, InvalidParams if it is no such message, TooLarge. Violations call fields as
    the contract does, however the text spells them.
    """
    try:
        return await _from_json(data, kind, pace, hold)
    except InvalidParams as error:
        raise in_contract(error, cast(Descriptor, kind.DESCRIPTOR)) from None


async def _from_json(data: bytes, kind: type[Message], pace: Checkpoints, hold: Hold) -> bytes:
    if _is_short(data, Span(0, len(data))):
        hold(MOST_FACTOR * len(data))
        message = kind()
        decoded = decoded_json(data)
        await pace.checkpoint()
        await in_slices(refuse_repeated(data, ()), pace)
        await in_slices(read(message, decoded, ()), pace)
        await pace.checkpoint()
        return message.SerializeToString()
    try:
        await check_json(data, pace.checkpoint)
    except InvalidParams as error:
        raise InvalidRequest(f"the request is not JSON: {error.message}") from None
    whole = stripped(data, Span(0, len(data)))
    pieces = await _LongReader(data, pace, hold).message(cast(Descriptor, kind.DESCRIPTOR), whole, ())
    return await pieces.joined(pace.checkpoint)


class _LongReader:
    """Reads messages in a text, which has been checked. What they become comes in parts."""

    def __init__(self, data: bytes, pace: Checkpoints, hold: Hold) -> None:
        self._data = data
        self._pace = pace
        self._hold = hold
        self._checkpoint = pace.checkpoint

    async def message(self, descriptor: Descriptor, span: Span, path: Path, depth: int = 0) -> BytePieces:
        """A message; `depth` is that of a Value inside others."""
        if descriptor.full_name == VALUE:
            return await self._value(span, path, depth)
        if self._is_short(span) or descriptor.full_name in TEXTS:
            message = _class(descriptor)()
            await in_slices(read(message, await self._decoded(span, path), path), self._pace)
            return self._held(message)
        seen: dict[str, str] = {}
        pieces = BytePieces()
        for name, at in (await self._members(span, path)).items():
            field = field_named(descriptor, name, seen, path)
            if not self._data.startswith(b"null", at.start) or takes_null(field):
                pieces.take(await self._field(descriptor, field, at, (*path, name)))
            await self._checkpoint()
        return pieces

    async def _members(self, span: Span, path: Path) -> dict[str, Span]:
        if not self._data.startswith(b"{", span.start):
            raise InvalidParams.field(*path, description="expected an object")
        try:
            found = await member_spans(self._data, span, self._checkpoint, MAX_MEMBERS, once=True)
        except (NameTooLong, MemberRepeated) as error:
            raise error.under(*path) from None
        if len(found) > MAX_MEMBERS:
            raise too_many(*path)
        return found

    async def _field(self, descriptor: Descriptor, field: FieldDescriptor, span: Span, path: Path) -> BytePieces:
        if self._is_short(span):
            message = _class(descriptor)()
            await in_slices(read_field(message, field, await self._decoded(span, path), path), self._pace)
            return self._held(message)
        if (of := values_of_map(field)) is not None:
            return await self._map(field, of, span, path)
        if field.is_repeated:
            return await self._elements(descriptor, field, span, path)
        return await self._single(field, span, path)

    async def _single(self, field: FieldDescriptor, span: Span, path: Path, depth: int = 0) -> BytePieces:
        """One long value of a field."""
        if field.message_type is not None:
            return _inside(field.number, await self.message(field.message_type, span, path, depth))
        if field.type == FieldDescriptor.TYPE_STRING:
            return _inside(field.number, await self._string(span, path))
        if field.type == FieldDescriptor.TYPE_BYTES:
            return _inside(field.number, await self._bytes(span, path))
        raise InvalidParams.field(*path, description="expected a number, true or false, or a name")

    async def _map(self, field: FieldDescriptor, of: FieldDescriptor, span: Span, path: Path) -> BytePieces:
        pieces = BytePieces()
        for name, at in (await self._members(span, path)).items():
            if self._data.startswith(b"null", at.start):
                raise InvalidParams.field(*path, name, description="expected a value")
            value = await self._field(cast(Any, field.message_type), of, at, (*path, name))
            pieces.take(self._member(field.number, name, value))
            await self._checkpoint()
        return pieces

    async def _elements(self, descriptor: Descriptor, field: FieldDescriptor, span: Span, path: Path) -> BytePieces:
        pieces = BytePieces()
        index = 0
        async with aclosing(self._runs(span, path)) as runs:
            async for run in runs:
                await self._checkpoint()
                if not self._is_short(run):
                    pieces.take(await self._single(field, run, (*path, index)))
                    index += 1
                    continue
                values = await self._run(run, path, index)
                message = _class(descriptor)()
                await in_slices(read_elements(message, field, values, path, index), self._pace)
                pieces.take(self._held(message))
                index += len(values)
        return pieces

    def _runs(self, span: Span, path: Path) -> AsyncGenerator[Span, None]:
        if not self._data.startswith(b"[", span.start):
            raise InvalidParams.field(*path, description="expected an array")
        return cast("AsyncGenerator[Span, None]", element_runs(self._data, span, self._checkpoint))

    async def _run(self, run: Span, path: Path, index: int) -> list[Any]:
        """The elements of a run, of which the first one has an index."""
        if _size(run) > WINDOW:
            return [await self._decoded(run, (*path, index))]
        text = b"[%b]" % self._data[run.start : run.stop]
        elements: list[Any] = decoded_json(text)
        await in_slices(refuse_repeated(text, path, index), self._pace)
        return elements

    async def _value(self, span: Span, path: Path, depth: int) -> BytePieces:
        if self._is_short(span):
            value = Value()
            await in_slices(fill_value(value, await self._decoded(span, path), path, depth), self._pace)
            return self._held(value)
        opening = self._data[span.start : span.start + 1]
        if opening == b'"':
            return _inside(Value.STRING_VALUE_FIELD_NUMBER, await self._string(span, path))
        if opening not in b"[{":
            raise InvalidParams.field(*path, description="a number beyond the range of a double")
        refuse_deeper(depth, path)
        if opening == b"{":
            return _inside(Value.STRUCT_VALUE_FIELD_NUMBER, await self._value_members(span, path, depth + 1))
        return _inside(Value.LIST_VALUE_FIELD_NUMBER, await self._value_elements(span, path, depth + 1))

    async def _value_members(self, span: Span, path: Path, depth: int) -> BytePieces:
        pieces = BytePieces()
        for name, at in (await self._members(span, path)).items():
            value = _inside(_OF_MEMBER, await self._value(at, (*path, name), depth))
            pieces.take(self._member(Struct.FIELDS_FIELD_NUMBER, name, value))
            await self._checkpoint()
        return pieces

    async def _value_elements(self, span: Span, path: Path, depth: int) -> BytePieces:
        pieces = BytePieces()
        index = 0
        async with aclosing(self._runs(span, path)) as runs:
            async for run in runs:
                await self._checkpoint()
                if not self._is_short(run):
                    value = await self._value(run, (*path, index), depth)
                    pieces.take(_inside(ListValue.VALUES_FIELD_NUMBER, value))
                    index += 1
                    continue
                listed = ListValue()
                for element in await self._run(run, path, index):
                    await in_slices(fill_value(listed.values.add(), element, (*path, index), depth), self._pace)
                    index += 1
                    if index % _STRIDE == 0:
                        await self._checkpoint()
                pieces.take(self._held(listed))
        return pieces

    async def _string(self, span: Span, path: Path) -> BytePieces:
        pieces = BytePieces()
        async with aclosing(self._string_parts(span, path)) as parts:
            async for part in parts:
                self._hold(len(part))
                pieces.add(part)
        return pieces

    async def _string_parts(self, span: Span, path: Path) -> AsyncGenerator[bytes, None]:
        """Yield what is between quotation marks."""
        data = self._data
        if not data.startswith(b'"', span.start):
            raise InvalidParams.field(*path, description="expected a string")
        start, stop = span.start + 1, span.stop - 1
        while start < stop:
            end = min(start + _STRING_AT_ONCE, stop)
            if data.find(b"\\", start, end) >= 0:
                end = cast("re.Match[bytes]", _UNITS.match(data, start, end)).end()
            least = end - MOST_CONTINUED  # What goes on for longer is not UTF-8, and does not hold the reader up.
            while least < end < stop and data[end] & 0xC0 == 0x80:
                end -= 1
            try:
                text: str = msgspec.json.decode(b'"%b"' % data[start:end], type=str)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise InvalidParams.field(*path, description="not UTF-8") from None
            yield text.encode()
            start = end
            await self._checkpoint()

    async def _bytes(self, span: Span, path: Path) -> BytePieces:
        """What base64 stands for, of either alphabet, padded or not."""
        pieces = BytePieces()
        rest = b""
        async with aclosing(self._string_parts(span, path)) as texts:
            async for text in texts:
                rest += text.replace(b"-", b"+").replace(b"_", b"/")
                whole = len(rest) - len(rest) % 4 - 4  # The last ones may be padded.
                if whole > 0:
                    self._hold(whole)
                    pieces.add(_unpadded(rest[:whole], path))
                    rest = rest[whole:]
        rest = rest.rstrip(b"=")
        pieces.add(_unpadded(rest + b"=" * (-len(rest) % 4), path, b"="))
        return pieces

    def _member(self, number: int, name: str, value: BytePieces) -> BytePieces:
        """A field that is a member of a map, of which `value` is the field with the value."""
        key = name.encode()
        self._hold(len(key) + _HEADS)
        value.put_before(length_prefix(_KEY, len(key)) + key)
        return _inside(number, value)

    def _held(self, message: Message) -> BytePieces:
        data = message.SerializeToString()
        self._hold(len(data))
        return BytePieces(data)

    def _is_short(self, span: Span) -> bool:
        return _is_short(self._data, span)

    async def _decoded(self, span: Span, path: Path) -> Any:
        text = self._data[span.start : span.stop]
        decoded = decoded_json(text)
        if self._is_short(span):
            await in_slices(refuse_repeated(text, path), self._pace)
        return decoded


def _unpadded(text: bytes, path: Path, padding: bytes = b"") -> bytes:
    if padding or b"=" not in text:
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            pass
    raise InvalidParams.field(*path, description="expected a string of base64")


def _inside(number: int, content: BytePieces) -> BytePieces:
    """A field that has a content."""
    content.put_before(length_prefix(number, content.size))
    return content


def _is_short(data: bytes, span: Span) -> bool:
    """Whether a text is read at once."""
    size = _size(span)
    if WINDOW < size <= LONG_TEXT:
        return data.count(b"[", *span) + data.count(b"{", *span) <= _BRACKETS
    return size <= WINDOW


def _size(span: Span) -> int:
    return span.stop - span.start


def _class(descriptor: Descriptor) -> type[Message]:
    return message_factory.GetMessageClass(descriptor)
