"""Strings are converted in parts as they would be as a whole."""

import sys
import tracemalloc
from collections.abc import Generator
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import long_strings
from gateway.core.long_strings import PART, cut, from_utf8, joined, utf8_length, utf8_parts


@given(st.text("aé中😀", max_size=40), st.lists(st.integers(0, 100)), st.sampled_from([1, 2, 3, 1000]))
def test_parts_make_the_string_wherever_it_is_divided(text: str, places: list[int], part: int) -> None:
    encoded = text.encode()
    with patch.object(long_strings, "PART", part):
        assert b"".join(utf8_parts(text)) == encoded
        assert utf8_length(text) == len(encoded)
    cuts = sorted({0, len(encoded), *(place % (len(encoded) + 1) for place in places)})
    assert from_utf8(encoded[start:stop] for start, stop in pairwise(cuts)) == text


@pytest.mark.parametrize("parts", [[b"\xff"], [b"a\xc3"], [b"\xed\xa0\x80"]])
def test_what_is_not_utf_8_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(UnicodeDecodeError):
        from_utf8(parts)


def taken(steps: Generator[None, None, str]) -> tuple[str, int]:
    """The result of some steps, and their number."""
    number = 0
    try:
        while True:
            next(steps)
            number += 1
    except StopIteration as end:
        return end.value, number


@pytest.mark.parametrize("parts", [[], ["a"], ["a", "é" * (2 * PART + 1), "中"], ["ab", ""] * 5_000, ["x" * PART] * 3])
def test_strings_are_put_together_in_steps(parts: list[str]) -> None:
    text, number = taken(joined(parts))
    assert text == "".join(parts)
    assert number >= len(text) // (2 * PART)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 10), (1, 3 * PART + 5), (PART, 2 * PART + 1)])
def test_a_part_of_a_string_is_cut_out_in_steps(start: int, stop: int) -> None:
    text = "".join(map(str, range(PART)))
    assert taken(cut(text, start, stop))[0] == text[start:stop]


def test_a_string_grows_in_place() -> None:
    """Otherwise each step would copy all that is there: it would be in memory twice."""
    part = "x" * (1 << 20)
    tracing = sys.gettrace()
    sys.settrace(None)  # The interpreter optimizes nothing that is traced, for coverage for instance.
    tracemalloc.start()
    try:
        text, _ = taken(joined([part] * 40))
        assert len(text) == 40 << 20
        assert tracemalloc.get_traced_memory()[1] < 44 << 20
    finally:
        tracemalloc.stop()
        sys.settrace(tracing)
