"""The compact form of JSON: the values stay, and every spelling of tokens has one form."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import compact_json
from gateway.core.compact_json import compact, compact_at_once
from gateway.core.json_layout import at_once
from tests.support.json_texts import json_texts
from tests.support.respelling import respelled, values

SPELLINGS = [
    ('{"a": 1}', '{"a":1}'),
    (" [ 1 ,\n2 ] ", "[1,2]"),
    ('{"b":1,"a":2}', '{"b":1,"a":2}'),
    ('{"a":1, "a":2}', '{"a":1,"a":2}'),
    ('"a  b"', '"a  b"'),
    ('"\\u0061\\/\\u00e9\\u0001\\u007f\\b\\n\\u001F"', '"a/é\\u0001\x7f\\b\\n\\u001f"'),
    ('"\\ud83d\\ude00 1.50"', '"😀 1.50"'),
    ("[1.0,1e2,1E2,1.50,-0.0,0.1e1,-0]", "[1.0,100.0,100.0,1.5,-0.0,1.0,-0.0]"),
    (
        "[1e-7,1e21,1e16,1e15,0.00001,1e-5,-1.5e-5,0.000001]",
        "[1e-7,1e+21,1e+16,1000000000000000.0,0.00001,0.00001,-0.000015,1e-6]",
    ),
    ("[18446744073709551616,0.10000000000000000001,1e400]", "[18446744073709551616,0.10000000000000000001,1e400]"),
    ("[true, null]", "[true,null]"),
]


@pytest.mark.parametrize("window", [30, 4_096])
@pytest.mark.parametrize(("text", "form"), SPELLINGS)
def test_the_compact_form(text: str, form: str, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_json, "WINDOW", window)
    assert at_once(compact(text)) == form
    assert at_once(compact(form)) == form
    assert compact_at_once(text) == compact_at_once(form) == form


@given(st.one_of(json_texts, st.builds(respelled, values, st.randoms(use_true_random=False))), st.integers(45, 90))
def test_values_and_the_order_of_members_stay(text: str, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_json, "WINDOW", window)
        form = at_once(compact(text))
    assert exact(form) == exact(text)
    assert compact_at_once(text) == form
    assert form == at_once(compact(text)) == at_once(compact(form))


def test_a_compact_text_is_not_copied() -> None:
    text = json.dumps(["x" * 10, 1.5] * 10_000, separators=(",", ":"))
    assert at_once(compact(text)) is text


def test_long_texts_are_made_compact_in_steps() -> None:
    value = [{"name": f"é {number}", "n": number / 7} for number in range(3_000)]
    text = json.dumps(value, indent=2)
    assert sum(1 for _ in compact(text)) >= len(text) // compact_json.WINDOW
    assert at_once(compact(text)) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_a_number_longer_than_a_window_stays_as_it_is() -> None:
    for number in ("1" * 10_000, "0." + "1" * 9_000 + "500", "1." + "0" * 9_000 + "e1"):
        text = f"[1, {number} , 1e2]"
        assert at_once(compact(text)) == f"[1,{number},100.0]"


def exact(text: str) -> Any:
    return json.loads(text, parse_int=Decimal, parse_float=Decimal, object_pairs_hook=lambda pairs: ("object", pairs))
