"""Messages of protobuf as JSON, by the mapping that protobuf defines, for clients that speak Connect.

Payloads are texts in it, as they are in protobuf: `{"json": "1152921504606846977"}`. So integers and decimals of any
size stay as they are, whatever the parsers of a client make of numbers.

What is stricter than that mapping: members that a message does not have are refused, and so are two that stand for the
same field, and numbers in quotation marks for fields of 32 bits.

Everything here is done in steps (`time_slice.in_slices`), on what a text of `json_parts.LONG_TEXT` at most is.
"""

import binascii
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias, cast

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.adapter.value_json import fill_value, value_members
from gateway.core.errors import InvalidParams, InvalidRequest, Path
from gateway.core.times import rfc3339

Hold: TypeAlias = Callable[[int], None]
"""Is told how many bytes more are held. Raises Overloaded if there is no room for them."""

VALUE: Final = Value.DESCRIPTOR.full_name
_TEXT_FORMS: Final = {
    Duration.DESCRIPTOR.full_name: (
        re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,9})?s"),
        "1.5s",
        "a duration of at most 315576000000s",
    ),
    Timestamp.DESCRIPTOR.full_name: (
        re.compile(
            r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
        ),
        "2026-01-31T12:00:00Z",
        "a time that exists, in the years 1 to 9999",
    ),
}
"""What texts they have, an example, and what else the text has to be.

Protobuf's reader takes other texts as well, or fails with an OverflowError.
"""

TEXTS: Final = frozenset(_TEXT_FORMS)
"""The messages that are strings in JSON."""

_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: range(-(1 << 31), 1 << 31),
    FieldDescriptor.CPPTYPE_UINT32: range(1 << 32),
    FieldDescriptor.CPPTYPE_INT64: range(-(1 << 63), 1 << 63),
    FieldDescriptor.CPPTYPE_UINT64: range(1 << 64),
}
_STRIDE: Final = 16
"""How many elements are a step."""

_LONG: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})


_FLOATS: Final = {
    FieldDescriptor.CPPTYPE_FLOAT: (2 - 2**-24) * 2.0**127,
    FieldDescriptor.CPPTYPE_DOUBLE: math.inf,
}
"""What a number has to be less than: what is not would be rounded to an infinite one."""

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def decoded_json(data: bytes) -> Any:
    """What a short text is. Raises InvalidRequest if it is no JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest("the request is not JSON, or has a number that is beyond all ranges") from None
    except RecursionError:
        raise InvalidRequest("the request is nested too deeply") from None


@cache
def fields_by_name(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """The fields of a message by their names in JSON, and by those of protobuf, which JSON may have as well."""
    by_name = {field.name: field for field in descriptor.fields}
    return {**by_name, **{field.json_name: field for field in descriptor.fields}}


@cache
def values_of_map(field: FieldDescriptor) -> FieldDescriptor | None:
    """The field of the values, if a field is a map, which is an object in JSON."""
    entry = field.message_type
    return None if entry is None or not entry.GetOptions().map_entry else entry.fields_by_name["value"]


class _Way(NamedTuple):
    """How values of a field become JSON."""

    name: str
    """What the field is called in JSON."""
    scalar: Callable[[Any], Any] | None
    """Writes one value that is no object in JSON; None: values are messages."""
    short: bool
    """Whether the field has one value, which is no Value: those can be of any length."""


@cache
def _way(field: FieldDescriptor) -> _Way:
    single = not field.is_repeated and (field.message_type is None or field.message_type.full_name != VALUE)
    return _Way(field.json_name, scalar_writer(field), single)


def scalar_writer(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    """What makes JSON of one value of a field; None if its values are messages that are no texts in JSON."""
    if field.message_type is not None:
        return _TEXT_WRITERS.get(field.message_type.full_name)
    if field.cpp_type in _LONG:
        return str
    if field.enum_type is not None:
        names = {number: each.name for number, each in field.enum_type.values_by_number.items()}
        return lambda value: names.get(value, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: b64encode(value).decode()
    return _float_to_json if field.cpp_type in _FLOATS else _same


_TEXT_WRITERS: Final[Mapping[str, Callable[[Any], str]]] = {
    Duration.DESCRIPTOR.full_name: Duration.ToJsonString,
    # It is what ToJsonString writes, in a third of the time: each result of a run has a time.
    Timestamp.DESCRIPTOR.full_name: lambda time: rfc3339(time.seconds * 10**9 + time.nanos),
}


def _float_to_json(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _same(value: Any) -> Any:
    return value


def written(message: Message) -> Generator[None, None, Any]:
    """What JSON has for a message, made in steps."""
    name = message.DESCRIPTOR.full_name
    if (text := _TEXT_WRITERS.get(name)) is not None:
        return text(message)
    if name == VALUE:
        return (yield from value_members(cast(Value, message)))
    if (short := _written_at_once(message)) is not None:
        return short
    members: dict[str, Any] = {}
    for field, value in message.ListFields():
        if (of := values_of_map(field)) is not None:
            entries: dict[str, Any] = {}
            for key in value:
                yield
                entries[str(key)] = yield from _one_written(of, value[key])
            members[field.json_name] = entries
        elif field.is_repeated:
            members[field.json_name] = yield from elements_written(field, value)
        else:
            members[field.json_name] = yield from _one_written(field, value)
    return members


def elements_written(field: FieldDescriptor, values: Iterable[Any]) -> Generator[None, None, list[Any]]:
    """What JSON has for the values of a field that is repeated."""
    elements: list[Any] = []
    for index, value in enumerate(values):
        if index % _STRIDE == 0:
            yield
        elements.append((yield from _one_written(field, value)))
    return elements


def _one_written(field: FieldDescriptor, value: Any) -> Generator[None, None, Any]:
    if (scalar := _way(field).scalar) is not None:
        return scalar(value)
    return (yield from written(value))


def _written_at_once(message: Message) -> dict[str, Any] | None:
    """What JSON has for a message; None if it has lists, maps or Values, which can be long."""
    members: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, scalar, short = _way(field)
        if not short:
            return None
        member = _written_at_once(value) if scalar is None else scalar(value)
        if member is None:
            return None
        members[name] = member
    return members


def read(message: Message, members: Any, path: Path) -> Generator[None, None, None]:
    """Make a message what JSON has for it, in steps. Raises InvalidParams if that is no such message."""
    descriptor = cast(Descriptor, message.DESCRIPTOR)
    if descriptor.full_name in TEXTS:
        _read_text(message, members, path)
    elif descriptor.full_name == VALUE:
        yield from fill_value(cast(Value, message), members, path)
    elif not isinstance(members, dict):
        raise InvalidParams.field(*path, description="expected an object")
    else:
        seen: dict[str, str] = {}
        for name, value in members.items():
            field = field_named(descriptor, name, seen, path)
            if type(value) is str and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                setattr(message, field.name, value)  # As of most elements: a payload is one text.
            elif value is not None or takes_null(field):
                yield from read_field(message, field, value, (*path, name))


def field_named(descriptor: Descriptor, name: str, seen: dict[str, str], path: Path) -> FieldDescriptor:
    """The field that a member of a message stands for; `seen` has the members before.

    Raises InvalidParams if there is none, or if another member stands for it as well.
    """
    field = fields_by_name(descriptor).get(name)
    if field is None:
        raise InvalidParams.field(*path, name, description="no such field")
    # Of the fields of a oneof, one may be there.
    place = field.name if field.containing_oneof is None else field.containing_oneof.name
    if seen.setdefault(place, name) != name:
        raise InvalidParams.field(*path, name, description=f"'{seen[place]}' is set as well")
    return field


def takes_null(field: FieldDescriptor) -> bool:
    """Whether null is a value of a field; otherwise it stands for a field that is not set."""
    return field.message_type is not None and field.message_type.full_name == VALUE and not field.is_repeated


def read_field(message: Message, field: FieldDescriptor, value: Any, path: Path) -> Generator[None, None, None]:
    """Make a field of a message what JSON has for it."""
    held = getattr(message, field.name)
    if (of := values_of_map(field)) is not None:
        if not isinstance(value, dict):
            raise InvalidParams.field(*path, description="expected an object")
        for key, each in value.items():
            yield
            if of.message_type is None:
                held[key] = scalar_from_json(of, each, (*path, key))
            else:
                yield from read(held[key], each, (*path, key))
    elif field.is_repeated:
        if not isinstance(value, list):
            raise InvalidParams.field(*path, description="expected an array")
        yield from read_elements(message, field, value, path)
    elif field.message_type is None:
        setattr(message, field.name, scalar_from_json(field, value, path))
    else:
        held.SetInParent()
        yield from read(held, value, path)


def read_elements(
    message: Message, field: FieldDescriptor, values: Iterable[Any], path: Path, first: int = 0
) -> Generator[None, None, None]:
    """Append values to a field that is repeated, where so many have been before."""
    held = getattr(message, field.name)
    for index, value in enumerate(values, first):
        if index % _STRIDE == 0:
            yield
        if field.message_type is None:
            held.append(scalar_from_json(field, value, (*path, index)))
        else:
            yield from read(held.add(), value, (*path, index))


def scalar_from_json(field: FieldDescriptor, value: Any, path: Path) -> Any:
    """The value of a field that is no message. Raises InvalidParams if JSON has another one."""
    kind = field.cpp_type
    if kind in _INTEGERS:
        return _integer(value, _INTEGERS[kind], path, quoted=kind in _LONG)
    if kind in _FLOATS:
        return _float(value, _FLOATS[kind], path)
    if field.enum_type is not None:
        return _enum(field.enum_type, value, path)
    return _READERS[field.type](value, path)


def _integer(value: Any, within: range, path: Path, *, quoted: bool) -> int:
    if quoted and isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 21:
        value = int(value)
    if isinstance(value, float) and value.is_integer() and math.isfinite(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in within:
        raise InvalidParams.field(*path, description=f"expected an integer from {within.start} to {within.stop - 1}")
    return value


def _float(value: Any, limit: float, path: Path) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value) if not isinstance(value, str) or _NUMBER.fullmatch(value) else limit
        except OverflowError:
            number = limit
        if abs(number) < limit:
            return number
    raise InvalidParams.field(*path, description="expected a number within its range, NaN, Infinity or -Infinity")


def _enum(kind: EnumDescriptor, value: Any, path: Path) -> int:
    if isinstance(value, str) and (found := kind.values_by_name.get(value)) is not None:
        return found.number
    if isinstance(value, int) and not isinstance(value, bool) and value in _INTEGERS[FieldDescriptor.CPPTYPE_INT32]:
        return value
    raise InvalidParams.field(*path, description=f"expected one of {', '.join(kind.values_by_name)}")


def _string(value: Any, path: Path) -> str:
    if not isinstance(value, str):
        raise InvalidParams.field(*path, description="expected a string")
    return value


def _boolean(value: Any, path: Path) -> bool:
    if not isinstance(value, bool):
        raise InvalidParams.field(*path, description="expected true or false")
    return value


def _bytes(value: Any, path: Path) -> bytes:
    if isinstance(value, str) and value.isascii():
        text = value.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            return b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            pass
    raise InvalidParams.field(*path, description="expected a string of base64")


_READERS: Final[Mapping[int, Callable[[Any, Path], Any]]] = {
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_BOOL: _boolean,
}
"""What reads the other types."""


def _read_text(message: Message, value: Any, path: Path) -> None:
    form, example, meant = _TEXT_FORMS[cast(Descriptor, message.DESCRIPTOR).full_name]
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise InvalidParams.field(*path, description=f"expected a string like '{example}'")
    try:
        message.FromJsonString(value)  # type: ignore[attr-defined]
    except (ValueError, OverflowError):
        raise InvalidParams.field(*path, description=f"expected {meant}") from None
