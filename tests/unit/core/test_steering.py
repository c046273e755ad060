"""Characters that steer a terminal, in JSON and in texts."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.steering import escaped_steering, without_steering

TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B", "S"}
"""The classes of characters that turn text around or divide it, by the algorithm for bidirectional text."""


EVERY = "".join(map(chr, range(0x110000)))


def test_all_that_control_and_all_that_turn_text_around_are_among_them() -> None:
    steer = [
        each
        for each in EVERY
        if unicodedata.category(each) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(each) in TURNING
    ]
    assert {"\x9b", "\u202e", "\u2028"} <= {*steer}
    assert without_steering("".join(steer)) == "\N{REPLACEMENT CHARACTER}" * len(steer)


def test_what_is_written_stays() -> None:
    written = "".join(each for each in EVERY if unicodedata.category(each)[0] in "LMNPS")
    assert without_steering(written) == written


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escaped_json_means_the_same(text: str) -> None:
    for written in (json.dumps([text, {text: 1}], ensure_ascii=False, indent="\t"), json.dumps(text)):
        escaped = escaped_steering(written)
        assert json.loads(escaped) == json.loads(written)
        assert without_steering(escaped, layout=True) == escaped
