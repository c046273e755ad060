"""Numbers between the engine's doubles and JSON: restored, or refused at their path."""

import json

import pytest
from google.protobuf.struct_pb2 import Value

from gateway.adapter.values import text_to_value
from gateway.bridge.payload import input_text, output_value
from gateway.core.errors import InvalidParams


def engine_value(payload: object) -> Value:
    """A Value as the engine makes it: every number a double."""
    value = text_to_value(json.dumps(payload))
    assert value is not None
    return value


@pytest.mark.parametrize("payload", [None, True, "x", 0, -7, 0.5, 2**53 - 1, 1e300, [], {}, {"a": [1, {"b": [2.5]}]}])
def test_what_a_double_holds_passes_both_ways(payload: object) -> None:
    text = input_text(engine_value(payload), lossy=False)
    assert json.loads(text) == payload
    assert output_value(text, lossy=False) == engine_value(payload)


def test_whole_numbers_become_integers() -> None:
    assert input_text(engine_value({"n": 6.0}), lossy=False) == '{"n":6}'


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, -(2**53) - 1, 2**63, 2**64 - 4096])
def test_an_input_that_may_have_been_rounded_is_refused_at_its_path(number: int) -> None:
    with pytest.raises(InvalidParams, match=r"^input\.a\[1\]\.n: .* may have been rounded"):
        input_text(engine_value({"a": [0, {"n": number}]}), lossy=False)


def test_digits_in_strings_are_no_numbers() -> None:
    assert json.loads(input_text(engine_value("90071992547409930000"), lossy=False)) == "90071992547409930000"


@pytest.mark.parametrize("number", ["9007199254740993", "-9007199254740993", "0.12345678901234567890", "1e400"])
def test_an_output_that_would_be_rounded_is_refused_at_its_path(number: str) -> None:
    with pytest.raises(InvalidParams, match=r"^output\.a\[0\]: the engine cannot hold"):
        output_value(f'{{"a":[{number}]}}', lossy=False)


def test_lossy_numbers_are_rounded() -> None:
    assert output_value("9007199254740993", lossy=True).number_value == 2.0**53
    assert input_text(engine_value(2**53 + 1), lossy=True) == str(2**53)


def test_what_no_value_can_hold_is_refused_in_any_case() -> None:
    for text in ("[" * 40 + "]" * 40, "1e400"):
        with pytest.raises(InvalidParams, match=r"^output: nested more than 32 levels deep, or"):
            output_value(text, lossy=True)
