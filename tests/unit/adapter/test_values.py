import json
import math

import pytest
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.values import (
    MAX_VALUE_DEPTH,
    json_value_to_text,
    text_to_json_value,
    text_to_value,
    value_to_text,
)
from gateway.core.errors import InvalidParams
from runs.v1 import runs_pb2

scalars = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=10
)


def nested(levels: int, opening: str, closing: str) -> str:
    return opening * levels + "1" + closing * levels


@given(values)
def test_there_and_back(value: object) -> None:
    message = text_to_value(json.dumps(value))
    assert message is not None
    assert json.loads(value_to_text(message)) == value
    assert text_to_value(value_to_text(message)) == message


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0.0"),
        (-3.0, "-3"),
        (2.0**53, "9007199254740992"),
        (2.0**53 + 2, "9007199254740994.0"),
        (2.0**60, "1.152921504606847e+18"),
        (0.1, "0.1"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_numbers(number: float, text: str) -> None:
    assert value_to_text(Value(number_value=number)) == text
    read = text_to_value(text)
    assert read is not None
    assert math.copysign(1, read.number_value) == math.copysign(1, number)
    assert read.number_value == number


def test_the_same_value_has_one_text() -> None:
    names = [f"k{index}" for index in range(50)]
    one, other = Value(), Value()
    for name in names:
        one.struct_value.fields[name].bool_value = True
    for name in reversed(names):
        other.struct_value.fields[name].bool_value = True
    assert (
        value_to_text(one) == value_to_text(other) == "{" + ",".join(f'"{name}":true' for name in sorted(names)) + "}"
    )


@pytest.mark.parametrize("text", ["{}", "[]", '{"a":{}}', "[[],{}]", "null", '""'])
def test_empty_values_keep_their_kind(text: str) -> None:
    message = text_to_value(text)
    assert message is not None
    assert value_to_text(Value.FromString(message.SerializeToString())) == text


@pytest.mark.parametrize("text", ["1e400", "-1e400", "[" + "9" * 400 + "]", "9" * 5_000])
def test_numbers_beyond_a_double_stay_text(text: str) -> None:
    assert text_to_value(text) is None
    assert text_to_json_value(text, runs_pb2.RESULT_ENCODING_VALUE) == runs_pb2.JsonValue(json=text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_what_is_held_can_be_parsed(opening: str, closing: str) -> None:
    text = nested(MAX_VALUE_DEPTH, opening, closing)
    response = runs_pb2.GetRunResponse()
    response.run.results.add().value.CopyFrom(text_to_json_value(text, runs_pb2.RESULT_ENCODING_VALUE))
    received = runs_pb2.GetRunResponse.FromString(response.SerializeToString())
    assert received.run.results[0].value.WhichOneof("encoding") == "value"
    assert json_value_to_text(received.run.results[0].value) == text

    deeper = nested(MAX_VALUE_DEPTH + 1, opening, closing)
    assert text_to_json_value(deeper, runs_pb2.RESULT_ENCODING_VALUE).json == deeper
    assert (
        text_to_json_value(nested(900, opening, closing), runs_pb2.RESULT_ENCODING_VALUE).WhichOneof("encoding")
        == "json"
    )


def test_text_is_the_usual_encoding() -> None:
    assert text_to_json_value("1") == runs_pb2.JsonValue(json="1")


def too_deep() -> Value:
    value = Value(number_value=1)
    for _ in range(MAX_VALUE_DEPTH + 1):
        value = Value(list_value=ListValue(values=[value]))
    return value


def in_struct(value: Value) -> Value:
    return Value(struct_value=Struct(fields={"a": Value(list_value=ListValue(values=[Value(bool_value=True), value]))}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (runs_pb2.JsonValue(), "inputs[3]: set json or value"),
        (runs_pb2.JsonValue(json="nope"), "inputs[3].json: not a JSON value: invalid character (byte 1)"),
        (runs_pb2.JsonValue(json=""), "inputs[3].json: not a JSON value: the text ends too early"),
        (runs_pb2.JsonValue(value=Value()), "inputs[3].value: no kind of value is set"),
        (runs_pb2.JsonValue(value=in_struct(Value())), "inputs[3].value.a[1]: no kind of value is set"),
        (
            runs_pb2.JsonValue(value=in_struct(Value(number_value=math.nan))),
            "inputs[3].value.a[1]: JSON has neither NaN nor Infinity",
        ),
        (
            runs_pb2.JsonValue(value=Value(number_value=-math.inf)),
            "inputs[3].value: JSON has neither NaN nor Infinity",
        ),
        (
            runs_pb2.JsonValue(value=too_deep()),
            f"inputs[3].value{'[0]' * MAX_VALUE_DEPTH}: nested more than {MAX_VALUE_DEPTH} levels deep",
        ),
    ],
)
def test_refuses_and_names_the_place(value: runs_pb2.JsonValue, message: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        json_value_to_text(value, "inputs", 3)
    assert caught.value.message == message
