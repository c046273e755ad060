"""A walk accepts what a parser accepts, whatever lies at the ends of its windows, and each step is short."""

import json
from typing import AnyStr
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import json_walk
from gateway.core.errors import InvalidParams
from gateway.core.json_walk import WINDOW, JsonWalk

PARSER = msgspec.json.Decoder(msgspec.Raw)
VALUES = st.recursive(
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text('aé中😀\\"[]{},:\n', max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text('ab"\\,', max_size=3), inner, max_size=4),
    max_leaves=30,
)
INSERTED = st.sampled_from(
    [*'[]{},:"\\ 01ae-.', "\x01", "\\ud800", "\\ude00", "\\ud83d\\ude00", ",,", "[,", "12345678901234567890"]
)


def walked(text: AnyStr) -> bool:
    walk = JsonWalk(text, 0, len(text), checked=True)
    steps = 0
    try:
        while not walk.finished:
            walk.step()
            steps += 1
            assert steps <= 2 * len(text) + 2
    except (InvalidParams, RecursionError):
        return False
    return True


def parsed(text: str) -> bool:
    try:
        PARSER.decode(text.encode())
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


@given(
    VALUES,
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2), INSERTED), max_size=2),
    st.sampled_from([12, 16, 30, 64]),
    st.sampled_from([1, 10]),
)
def test_it_accepts_what_a_parser_accepts(
    value: object, escaped: bool, changes: list[tuple[int, int, str]], window: int, at_once: int
) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    for place, removed, inserted in changes:
        at = place % (len(text) + 1)
        text = text[:at] + inserted + text[at + removed :]
    with patch.object(json_walk, "WINDOW", window), patch.object(json_walk, "_CHECKED_AT_ONCE", at_once):
        assert walked(text or "1") == parsed(text or "1")
        assert walked((text or "1").encode()) == parsed(text or "1")


SIZE = 50 * WINDOW
SHAPES = {
    "numbers": "[" + "1," * (SIZE // 2) + "1]",
    "objects": "[" + '{"a":"b","c":[1,2]},' * (SIZE // 20) + "1]",
    "one object": "{" + ",".join(f'"{number}":[1]' for number in range(SIZE // 12)) + "}",
    "a string": '"' + "x" * SIZE + '"',
    "escapes": '"' + "\\n\\ud83d\\ude00" * (SIZE // 14) + '"',
    "digits": "1" * SIZE,
    "white space": "[" + " " * SIZE + "]",
    "deep elements": "[" + ("[" * 20 + "]" * 20 + ",") * (SIZE // 41) + "1]",
    "deep objects": "[" + ('{"a":' * 20 + "1" + "}" * 20 + ",") * (SIZE // 121) + "1]",
    "a deep array": "[" * 900 + "1," * (SIZE // 2) + "1" + "]" * 900,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_reads_a_window_and_a_parser_gets_short_pieces(shape: str) -> None:
    text = SHAPES[shape]
    pieces: list[int] = []

    class Parser:
        def decode(self, piece: bytes) -> None:
            pieces.append(len(piece))
            PARSER.decode(piece)

    walk = JsonWalk(text, 0, len(text), checked=True)
    with patch.object(json_walk, "_VALUE", Parser()):
        while not walk.finished:
            before = walk.position
            walk.step()
            assert walk.position - before <= WINDOW + 20
    assert max(pieces) <= 3 * WINDOW
    assert sum(pieces) <= 3 * len(text) + 3 * WINDOW


def test_texts_that_nest_too_deeply_are_refused() -> None:
    assert not walked("[" * 100_000)
    assert not walked('{"a":' * 100_000)


def test_bytes_that_only_go_on_with_a_character_are_walked_over_by_windows() -> None:
    text = b'"' + b"\x80" * (20 * WINDOW) + b'"'
    walk = JsonWalk(text, 0, len(text), checked=True)
    steps = 0
    while not walk.finished:
        walk.step()
        steps += 1
    assert steps < 30  # That they are no UTF-8 is seen where the string is read.
