"""Each type that a field may have in proto3 goes both ways in JSON, and the contract has no other ones."""

import json
import math
from collections.abc import Iterator
from typing import Any, Final, cast

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from gateway.adapter.message_from_json import from_json
from gateway.adapter.message_json import TEXTS, VALUE, scalar_from_json, scalar_writer, values_of_map
from gateway.adapter.message_to_json import to_json
from gateway.core.errors import InvalidParams
from gateway.core.json_parts import LONG_TEXT
from runs.v1 import blobs_pb2, runs_pb2

Type = FieldDescriptor

SAMPLES: Final[dict[int, list[Any]]] = {
    Type.TYPE_DOUBLE: [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 2.0**60],
    Type.TYPE_FLOAT: [0.5, -0.0, 2.0**-149, (2 - 2**-23) * 2.0**127, math.inf, -math.inf],
    Type.TYPE_BOOL: [True],
    Type.TYPE_STRING: ["", '"\\\n\0\u00e9\U0001d11e'],
    Type.TYPE_BYTES: [b"", bytes(range(256))],
    Type.TYPE_ENUM: [1, 99],
    Type.TYPE_INT32: [-(1 << 31), (1 << 31) - 1],
    Type.TYPE_SINT32: [-(1 << 31), (1 << 31) - 1],
    Type.TYPE_SFIXED32: [-(1 << 31), (1 << 31) - 1],
    Type.TYPE_UINT32: [1, (1 << 32) - 1],
    Type.TYPE_FIXED32: [1, (1 << 32) - 1],
    Type.TYPE_INT64: [-(1 << 63), (1 << 60) + 1],
    Type.TYPE_SINT64: [-(1 << 63), (1 << 60) + 1],
    Type.TYPE_SFIXED64: [-(1 << 63), (1 << 60) + 1],
    Type.TYPE_UINT64: [1, (1 << 64) - 1],
    Type.TYPE_FIXED64: [1, (1 << 64) - 1],
}
"""Values of all types of proto3 that are no messages."""

NAMES: Final = {number: name for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()}
FILES: Final = (runs_pb2, blobs_pb2, health_pb2)


class Pace:
    """Has nobody to let work."""

    async def checkpoint(self) -> None:
        pass


def hold(_: int) -> None:
    """There is room for all."""


def _message_of_all_types() -> Any:
    """The class of a message that has a field of each type, and one that is repeated."""
    file = descriptor_pb2.FileDescriptorProto(name="all_types.proto", package="tests", syntax="proto3")
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="KIND_NONE", number=0)
    kind.value.add(name="KIND_ONE", number=1)
    message = file.message_type.add(name="AllTypes")
    for number in SAMPLES:
        for repeated in (False, True):
            field = message.field.add(name=f"{'many' if repeated else 'one'}_{number}", number=2 * number + repeated)
            field.type = cast(Any, number)
            field.label = cast(Any, field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL)
            if number == Type.TYPE_ENUM:
                field.type_name = ".tests.Kind"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tests.AllTypes"))


ALL_TYPES: Final = _message_of_all_types()


async def both_ways(message: Message) -> None:
    """Write a message and read it again. Protobuf's own reader and writer agree with that."""
    kind = type(message)
    text = await to_json(message.SerializeToString(), kind, Pace(), hold)
    assert json_format.Parse(text, kind()) == message
    for spelled in (text, json_format.MessageToJson(message).encode()):
        assert kind.FromString(await from_json(spelled, kind, Pace(), hold)) == message


@pytest.mark.parametrize("number", SAMPLES, ids=NAMES.get)
@pytest.mark.parametrize("long", [False, True])
async def test_each_type_of_proto3_goes_both_ways(number: int, long: bool) -> None:
    more = {f"one_{Type.TYPE_STRING}": "x" * LONG_TEXT} if long and number != Type.TYPE_STRING else {}
    for value in SAMPLES[number]:
        await both_ways(ALL_TYPES(**{f"one_{number}": value}, **more))
    await both_ways(ALL_TYPES(**{f"many_{number}": SAMPLES[number] * (5_000 if long else 1)}, **more))


def test_there_is_no_other_type() -> None:
    of_messages = {Type.TYPE_MESSAGE, Type.TYPE_GROUP}
    assert set(SAMPLES) | of_messages == set(NAMES)


def _messages(descriptor: Descriptor) -> Iterator[Descriptor]:
    yield descriptor
    for nested in descriptor.nested_types:
        yield from _messages(nested)


def _fields() -> Iterator[FieldDescriptor]:
    """All fields of all messages of the contract."""
    for file in FILES:
        for message in file.DESCRIPTOR.message_types_by_name.values():
            for each in _messages(message):
                yield from each.fields


@pytest.mark.parametrize("field", [*_fields()], ids=lambda field: field.full_name)
def test_each_field_of_the_contract_has_a_reader_and_a_writer(field: FieldDescriptor) -> None:
    kind = field.message_type
    if kind is None:
        write = scalar_writer(field)
        assert write is not None
        for value in SAMPLES[field.type]:
            written = json.loads(json.dumps(write(value)))
            assert scalar_from_json(field, written, ()) == value
    elif values_of_map(field) is not None:
        # The names of members are texts, which stand for no other keys so far.
        assert kind.fields_by_name["key"].type == Type.TYPE_STRING
    else:
        ours = kind.file.name in {file.DESCRIPTOR.name for file in FILES}
        assert ours or kind.full_name in {*TEXTS, VALUE}, "protobuf may have another form in JSON for this message"


WRONG: Final[list[Any]] = [True, None, "", "1_0", " 1", "nan", "inf", "0x1", "1.", [], {}, 10**400, "1e999"]


def test_numbers_that_are_none() -> None:
    double, single = (
        ALL_TYPES.DESCRIPTOR.fields_by_name[f"one_{number}"] for number in (Type.TYPE_DOUBLE, Type.TYPE_FLOAT)
    )
    for field in (double, single):
        assert math.isnan(scalar_from_json(field, "NaN", ()))
        write = scalar_writer(field)
        assert write is not None
        assert write(math.nan) == "NaN"
        assert scalar_from_json(field, "-1.5e3", ()) == -1_500
        assert scalar_from_json(field, 3, ()) == 3
        for wrong in WRONG:
            with pytest.raises(InvalidParams, match="expected a number"):
                scalar_from_json(field, wrong, ())
    with pytest.raises(InvalidParams, match="expected a number"):
        scalar_from_json(single, 3.5e38, ())
