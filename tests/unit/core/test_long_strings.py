"""Strings are converted in parts as they would be as a whole."""

from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import long_strings
from gateway.core.long_strings import from_utf8, utf8_length, utf8_parts


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
