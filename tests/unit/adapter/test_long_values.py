"""Long values in protobuf's own form are written as short ones are."""

import pytest
from google.protobuf.struct_pb2 import ListValue, Value
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter import long_values
from gateway.adapter.long_values import long_value_to_text
from gateway.adapter.values import value_to_text
from gateway.core.errors import InvalidParams

LEAVES = (
    st.builds(lambda number: Value(number_value=number), st.floats())
    | st.builds(lambda text: Value(string_value=text), st.text('aé中😀"\\\n', max_size=20))
    | st.sampled_from([Value(bool_value=True), Value(null_value=0), Value()])  # type: ignore[arg-type]
)


def struct(members: dict[str, Value]) -> Value:
    value = Value()
    value.struct_value.SetInParent()
    for name, member in members.items():
        value.struct_value.fields[name].CopyFrom(member)
    return value


VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda values: Value(list_value=ListValue(values=values)), st.lists(inner, max_size=6))
        | st.builds(struct, st.dictionaries(st.text("aé", max_size=3), inner, max_size=4))
    ),
    max_leaves=20,
)


async def checkpoint() -> None:
    pass


async def long_text(data: bytes) -> str:
    try:
        return await long_value_to_text(data, 0, len(data), checkpoint, "v")
    except InvalidParams as error:
        return error.message


def text(value: Value) -> str:
    try:
        return value_to_text(value, "v")
    except InvalidParams as error:
        return error.message


@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from([1, 10, 2_048]))
async def test_a_value_is_written_as_at_once(values: list[Value], at_once: int) -> None:
    """Serialized values that follow each other are one value: the last one, or lists or objects together."""
    data = b"".join(value.SerializeToString() for value in values)
    expected = text(Value.FromString(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_values, "_AT_ONCE", at_once)
        patch.setattr(long_values, "_SORTED_AT_ONCE", 2)
        patch.setattr(long_values, "_QUOTED_AT_ONCE", 3)
        found = await long_text(data)
    # Of several mistakes any may be told.
    assert found == expected or (found.startswith("v") and expected.startswith("v"))


@pytest.mark.parametrize("depth", [31, 32, 33])
async def test_depth_is_bounded_alike(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_values, "_AT_ONCE", 0)
    value = Value(number_value=1)
    for _ in range(depth):
        value = Value(list_value=ListValue(values=[value]))
    assert await long_text(value.SerializeToString()) == text(value)


async def test_members_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_values, "_AT_ONCE", 0)
    monkeypatch.setattr(long_values, "MAX_MEMBERS", 2)
    members = {name: Value(bool_value=True) for name in "abc"}
    assert "more than 2 members" in await long_text(struct(members).SerializeToString())


async def test_a_long_array_is_written_in_steps() -> None:
    steps = 0

    async def count() -> None:
        nonlocal steps
        steps += 1

    data = Value(list_value=ListValue(values=[Value(number_value=1)] * 50_000)).SerializeToString()
    assert await long_value_to_text(data, 0, len(data), count) == "[" + ",".join("1" * 50_000) + "]"
    assert steps >= len(data) // (4 << 10)
