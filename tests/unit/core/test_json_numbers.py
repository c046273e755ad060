"""Numbers: each value has one spelling, which has that value."""

import re
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.json_numbers import LongNumber, canonical_number, has_long_integer, has_respelled

_digits = st.text("0123456789", min_size=1, max_size=30) | st.sampled_from(["0" * 25, "9" * 25, "5" + "0" * 24])
_whole = st.sampled_from(["0", "7"]) | st.builds("{}{}".format, st.sampled_from("123456789"), _digits)
_fractions = st.just("") | st.builds(".{}".format, _digits)
_exponents = st.just("") | st.builds(
    "{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 40)
)
numbers = st.builds("{}{}{}{}".format, st.sampled_from(["", "-"]), _whole, _fractions, _exponents)


@given(numbers, numbers)
def test_one_spelling_for_each_value(one: str, other: str) -> None:
    assert Fraction(canonical_number(one)) == Fraction(one)
    assert canonical_number(canonical_number(one)) == canonical_number(one)
    assert (canonical_number(one) == canonical_number(other)) == (Fraction(one) == Fraction(other))


@given(numbers)
def test_what_may_be_spelled_otherwise_is_noticed(number: str) -> None:
    assert number == "-0" or has_respelled(f"[{number}]") or canonical_number(number) == number
    assert has_long_integer(number) == (re.search("[0-9]{21}", number) is not None)


@given(numbers, st.lists(st.integers(1, 5), max_size=60))
def test_parts_of_a_number_give_the_same(number: str, sizes: list[int]) -> None:
    long, taken, rest = LongNumber(), "", number
    for size in [*sizes, len(number)]:
        long.add(rest[:size])
        rest = rest[size:]
        taken += "".join(long.digits)
        long.digits.clear()
    assert long.canonical(taken) == canonical_number(number)


def test_exponents_without_end() -> None:
    nines = "9" * 5_000
    assert canonical_number(f"1e{nines}") == canonical_number(f"1E+00{nines}")
    assert canonical_number(f"1e{nines}") != canonical_number(f"1e-{nines}")
    assert canonical_number(f"0e{nines}") == "0"
