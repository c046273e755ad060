"""Fields are found where protobuf has written them."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.proto_wire import field_at, length_prefix, short_fields_end
from runs.v1 import runs_pb2


@given(st.integers(0, 100_000))
def test_a_prefix_is_that_of_protobuf(length: int) -> None:
    text = "x" * length
    data = length_prefix(1, length) + text.encode()
    assert runs_pb2.JsonValue.FromString(data).json == text
    field = field_at(data, 0, len(data))
    assert field.number == 1
    assert field.stop - field.start == length


def test_numbers_of_each_type_are_passed() -> None:
    # 1: a number; 2: 64 bits; 3: a text; 4: 32 bits.
    data = b"\x08\xff\xff\x03" + b"\x11" + bytes(8) + b"\x1a\x02ab" + b"\x25" + bytes(4)
    place, found = 0, []
    while place < len(data):
        field = field_at(data, place, len(data))
        found.append((field.number, field.kind, data[field.start : field.stop]))
        place = field.stop
    assert found == [(1, 0, b""), (2, 1, b""), (3, 2, b"ab"), (4, 5, b"")]


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05ab", b"\x0b", b"\x02\x00", b"\x08" + b"\xff" * 10, b"\x11\x00", b"\x08\x80"]
)
def test_malformed_fields_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        field_at(data, 0, len(data))


def test_short_fields_are_passed_together() -> None:
    field = b"\x12\x03\x0a\x011"
    data = field * 10 + b"\x0a\x01x" + field
    assert short_fields_end(data, 0, len(data), 0x12, 1 << 12) == 50
    assert short_fields_end(data, 0, len(data), 0x12, 12) == 15
    assert short_fields_end(data, 50, len(data), 0x12, 1 << 12) == 50
    assert short_fields_end(data, 0, 8, 0x12, 1 << 12) == 5
