"""Which numbers an engine keeps, and what becomes of those that it has written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.stepflow_numbers import EXACT_INTEGER, Numbers, refuse_inexact_numbers, restore_integers
from gateway.core.errors import InvalidParams, render_path

KEPT_BY_ALL = (
    "0",
    "-1",
    "6.0",
    "1e3",
    "2.50",
    "1E-7",
    "0.1",
    "9007199254740992",
    "-9007199254740992",
    "1.7e308",
    "-0.0",
)
LOST_BY_ALL = (
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    "1e400",
    "1e-400",
    "9007199254740993.0",
)


@pytest.mark.parametrize("numbers", Numbers)
@pytest.mark.parametrize("literal", KEPT_BY_ALL)
def test_numbers_that_are_kept(numbers: Numbers, literal: str) -> None:
    assert numbers.keeps(literal)
    refuse_inexact_numbers(f'{{"a":[{literal}]}}', numbers)


@pytest.mark.parametrize("numbers", [Numbers.INTEGERS, Numbers.DOUBLES])
@pytest.mark.parametrize("literal", LOST_BY_ALL)
def test_numbers_that_are_lost(numbers: Numbers, literal: str) -> None:
    assert not numbers.keeps(literal)
    with pytest.raises(InvalidParams) as error:
        refuse_inexact_numbers(f'{{"a":[0,{literal}]}}', numbers, "inputs", 3)
    assert [render_path(violation.path) for violation in error.value.violations] == ["inputs[3].a[1]"]
    assert "--lossy-numbers" in error.value.message


@pytest.mark.parametrize("literal", ["9007199254740993", "18446744073709551615", "-9223372036854775808"])
def test_integers_of_64_bits(literal: str) -> None:
    assert Numbers.INTEGERS.keeps(literal)
    assert not Numbers.DOUBLES.keeps(literal)


def test_rounded_numbers_are_those_in_the_range_of_a_double() -> None:
    for literal in LOST_BY_ALL:
        assert Numbers.ROUNDED.keeps(literal) is (literal != "1e400")
    assert not Numbers.ROUNDED.keeps("9" * 400)
    with pytest.raises(InvalidParams, match=r"inputs\[0\]\.a: the engine cannot hold 1e400: it is beyond"):
        refuse_inexact_numbers('{"a":1e400}', Numbers.ROUNDED, "inputs", 0)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_kept_exactly_if_a_double_has_its_value(number: int | float) -> None:
    literal = json.dumps(number)
    same = True if type(number) is float else abs(number) <= EXACT_INTEGER
    assert Numbers.DOUBLES.keeps(literal) is same


@pytest.mark.parametrize(
    "text",
    [
        '"9007199254740993"',
        '{"9007199254740993":1}',
        '"1e400"',
        "12",
        '["a1e5", "1234567890.123456789012"]',
        '"\\"9007199254740993"',
    ],
)
def test_strings_are_no_numbers(text: str) -> None:
    refuse_inexact_numbers(text, Numbers.DOUBLES)


def test_the_first_place_is_told() -> None:
    text = '{"b":[{"c":9007199254740993}],"a":9007199254740995}'
    with pytest.raises(InvalidParams, match=r"x\.b\[0\]\.c: the engine cannot hold 9007199254740993 exactly"):
        refuse_inexact_numbers(text, Numbers.DOUBLES, "x")


def test_a_number_that_a_later_member_hides_does_no_harm() -> None:
    refuse_inexact_numbers('{"a":9007199254740993,"a":1}', Numbers.DOUBLES)


def test_long_numbers_are_cut_in_messages() -> None:
    with pytest.raises(InvalidParams) as error:
        refuse_inexact_numbers("1" * 1_000_000, Numbers.INTEGERS)
    assert len(error.value.message) < 300


def test_what_nests_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidParams, match="too deeply"):
        refuse_inexact_numbers("[" * 100_000 + "9007199254740993" + "]" * 100_000, Numbers.DOUBLES)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("6.0", "6"),
        ("-6.0", "-6"),
        ("0.0", "0"),
        ("-0.0", "-0.0"),
        ("9007199254740992.0", "9007199254740992"),
        ("1e+300", "1e300"),
        ("1.2345678901234568e+29", "1.2345678901234568e29"),
        ("0.1", "0.1"),
        ("null", "null"),
        ("true", "true"),
        ('"6.0"', '"6.0"'),
        ('{"b":[1.0,{"d":2.5,"c":"1.0"}],"a":null}', '{"a":null,"b":[1,{"c":"1.0","d":2.5}]}'),
        ("[]", "[]"),
        ('"\\ud83d\\ude00"', '"\\ud83d\\ude00"'),
        ('["\\ud83d\\ude00é"]', '["😀é"]'),
    ],
)
def test_whole_numbers_are_restored(written: str, meant: str) -> None:
    assert restore_integers(written) == meant


def test_deep_text_is_left_as_it_is() -> None:
    text = "[" * 50_000 + "1.0" + "]" * 50_000
    assert restore_integers(text) == text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def with_floats(value: object) -> object:
    """As an engine of 0.12 would hold it."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [with_floats(element) for element in value]
        case dict():
            return {name: with_floats(member) for name, member in value.items()}
        case _:
            return value


@given(json_values)
def test_restored_values_are_those_that_were_sent(value: object) -> None:
    text = json.dumps(with_floats(value), ensure_ascii=False)
    assert json.loads(restore_integers(text)) == value
    assert restore_integers(restore_integers(text)) == restore_integers(text)
