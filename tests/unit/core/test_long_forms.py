"""Canonical forms: however a text is spelled, and whatever pieces it is walked over in, it has that of its value."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import forms, long_forms
from gateway.core.canonical_json import MAX_FORM, short_form
from gateway.core.json_layout import at_once
from gateway.core.long_forms import form_of
from tests.support.json_texts import json_texts
from tests.support.respelling import respelled, values

WINDOWS = (14, 40, 1_000)


@contextmanager
def walking(window: int) -> Iterator[pytest.MonkeyPatch]:
    """Texts are walked over, however short they are, by so many characters at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_forms, "WINDOW", window)
        patch.setattr(long_forms, "form_at_once", lambda _: None)
        yield patch


@pytest.mark.parametrize("window", WINDOWS)
@given(text=json_texts)
def test_a_walk_finds_the_form_that_a_parser_gives(window: int, text: str) -> None:
    with walking(window):
        assert at_once(form_of(text)) == short_form(text)


@pytest.mark.parametrize("window", WINDOWS)
@given(value=values, random=st.randoms(use_true_random=False))
def test_spellings_of_one_value_have_one_form(window: int, value: Any, random: Random) -> None:
    one, other = respelled(value, random), respelled(value, random)
    with walking(window):
        assert at_once(form_of(one)) == at_once(form_of(other)) == short_form(one)


few = st.recursive(
    st.sampled_from(["a", True, None, ("1", "1.0"), ("0", "-0.0"), ("1000", "1e3"), ("1e22", "1" + "0" * 22)]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)
"""Few values, so that two of them are often the same."""


@given(one=few, other=few, random=st.randoms(use_true_random=False))
def test_texts_have_one_form_exactly_if_they_mean_the_same(one: Any, other: Any, random: Random) -> None:
    texts = respelled(one, random), respelled(other, random)
    same = meaning(texts[0]) == meaning(texts[1])
    assert (short_form(texts[0]) == short_form(texts[1])) == same
    with walking(14) as patch:
        patch.setattr(forms, "MAX_FORM", 20)
        assert (at_once(form_of(texts[0])) == at_once(form_of(texts[1]))) == same


def meaning(text: str) -> Any:
    """The value of a text, with numbers that are compared exactly, and are no booleans."""
    return json.loads(text, parse_int=number, parse_float=number, object_pairs_hook=dict)


def number(literal: str) -> tuple[str, Fraction]:
    return ("number", Fraction(literal))


@given(value=values, random=st.randoms(use_true_random=False))
def test_what_stands_for_long_forms_depends_on_the_value_alone(value: Any, random: Random) -> None:
    one, other = respelled(value, random), respelled(value, random)
    with walking(14) as patch:
        patch.setattr(forms, "MAX_FORM", 90)
        assert at_once(form_of(one)) == at_once(form_of(other))


LONG = {
    "array": "[" + ",".join(map(str, range(50_000))) + "]",
    "object": json.dumps({f"name {number}": number for number in range(20_000)}),
    "text": json.dumps("é\n" * 50_000),
    "number": "1" * 100_000 + ".5e7",
    "name": json.dumps({"n" * 100_000: 1}),
    "nested": '{"a":[1,{"b":' * 400 + "2" + "}]}" * 400,
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_form_is_replaced_and_stays_small(name: str) -> None:
    form = at_once(form_of(LONG[name]))
    assert len(form) <= MAX_FORM
    assert at_once(form_of(f'[{LONG[name]}, "and more"]')) != at_once(form_of(f'[{LONG[name]}, "and less"]'))


@pytest.mark.parametrize("name", ["array", "object", "text", "nested"])
def test_a_long_text_has_the_form_of_every_spelling(name: str) -> None:
    text = LONG[name]
    if name == "nested":
        spaced = text.replace(":", " : ").replace("2", "2.0")
    else:
        value = json.loads(text)
        if isinstance(value, dict):
            value = dict(reversed(value.items()))
        spaced = json.dumps(value, indent=1)
    assert at_once(form_of(text)) == at_once(form_of(spaced))
    changed = text.replace("19999", "19998", 1) if name != "text" else text[:-1] + '"'
    assert (at_once(form_of(text)) == at_once(form_of(changed))) == (changed == text)


def test_steps_are_small_and_hold_little() -> None:
    for text in LONG.values():
        steps = sum(1 for _ in form_of(text))
        assert steps >= len(text) // (2 * long_forms.WINDOW)
