"""Packed texts are a sequence like a list of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import packed_texts
from gateway.core.json_layout import at_once
from gateway.core.packed_texts import CHUNK_TEXT, PackedTexts, packed_array

TEXTS = ["1", '"a,b"', "[1, [2]]", '{"a": "]"}', f'"{"x" * CHUNK_TEXT}"', "null"]


def packed(texts: list[str]) -> PackedTexts:
    sequence = PackedTexts()
    sequence.extend(texts)
    return sequence


@given(st.lists(st.sampled_from(TEXTS), max_size=40), st.integers(-5, 45), st.integers(-5, 45))
def test_they_are_read_as_they_were_appended(texts: list[str], start: int, stop: int) -> None:
    sequence = packed(texts)
    assert (len(sequence), list(sequence)) == (len(texts), texts)
    assert sequence[start:stop] == texts[start:stop]
    if -len(texts) <= start < len(texts):
        assert sequence[start] == texts[start]
    else:
        with pytest.raises(IndexError):
            sequence[start]
    assert sequence == texts
    assert sequence != [*texts, "1"]
    assert texts == packed(texts)


def test_chunks_and_texts_may_come_in_turn() -> None:
    sequence = PackedTexts()
    sequence.append("1")
    sequence.append_chunk(' 2 , "3,4"', 2)
    sequence.append_chunk("[5,6]", 1)
    sequence.append("7")
    assert list(sequence) == ["1", "2", '"3,4"', "[5,6]", "7"]
    assert sequence != ["1", "2", '"3,4"', "[5,6]", "8"]


def test_texts_may_nest_as_deeply_as_they_could_when_they_came() -> None:
    deep = ["[" * 999 + "]" * 999, "1", '{"a":' * 998 + "2" + "}" * 998]
    assert list(packed(deep)) == deep


def test_many_small_texts_take_little_memory() -> None:
    sequence = packed([str(number) for number in range(100_000)])
    assert sequence.size < 700_000
    assert max(map(len, sequence._chunks)) <= packed_texts.CHUNK_TEXT + 10


@given(st.lists(st.sampled_from([*TEXTS, "[" * 30 + "]" * 30]), max_size=40), st.sampled_from([",", " ,\n"]))
def test_an_array_is_packed_in_steps(texts: list[str], comma: str) -> None:
    assert at_once(packed_array(f"[ {comma.join(texts)} ]")) == texts
