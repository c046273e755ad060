import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import json_layout
from gateway.core.json_layout import Layout, at_once
from tests.support import json_texts
from tests.support.json_texts import json_texts as texts

sizes = st.sampled_from([(16_384, 8_192), (1, 1), (7, 5), (20, 100), (64, 16)])
"""How much a step looks at, and what is short."""


def assert_found(layout: Layout, start: int, end: int) -> None:
    text = layout.text
    found = [child for child in layout.children(start) if child] if text[start] in "[{" else []
    assert [(key, text[begin:end]) for key, begin, end in found] == json_texts.children(text[start:end])
    for _, begin, stop in found:
        assert_found(layout, begin, stop)


@given(texts, sizes)
def test_all_children_of_any_text_are_found(text: str, size: tuple[int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_layout, "STEP_CHARACTERS", size[0])
        patch.setattr(json_layout, "SEARCHED_CHARACTERS", size[0])
        patch.setattr(json_layout, "SHORT", size[1])
        assert_found(at_once(Layout.of(text)), 0, len(text))


@given(st.lists(texts, min_size=1, max_size=4), st.integers(1, 700), st.lists(st.integers(0, 700), max_size=4), sizes)
def test_elements_may_be_skipped(some: list[str], number: int, indexes: list[int], size: tuple[int, int]) -> None:
    elements = (some * number)[:number]
    text = f"[{' , '.join(elements)}]"
    wanted = sorted({*indexes})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_layout, "SHORT", size[1])
        found = {key: text[begin:end] for key, begin, end in filter(None, at_once(Layout.of(text)).children(0, wanted))}
    assert [found.get(index) for index in wanted if index < len(elements)] == [
        elements[index] for index in wanted if index < len(elements)
    ]


def test_marks() -> None:
    text = '["$a",' + " " * json_layout.STEP_CHARACTERS + '"\\u0024b","c"]'
    layout = at_once(Layout.of(text))
    pattern = re.compile(r'"(?:\$|\\u0024)')
    at_once(layout.mark(pattern))
    places = [found.start() for found in pattern.finditer(text)]
    assert [layout.is_marked(place, place + 1) for place in places] == [True, True]
    assert not layout.is_marked(places[1] + 1, len(text))
