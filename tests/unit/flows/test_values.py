import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import json_layout
from gateway.core.json_layout import at_once
from gateway.flows import values
from gateway.flows.values import NotLookedUp, Value
from tests.support import json_texts
from tests.support.json_texts import json_texts as texts
from tests.support.json_texts import path_keys


@given(texts, st.lists(path_keys, min_size=1, max_size=8))
def test_short_values_are_looked_into(text: str, paths) -> None:
    value = Value(text)
    assert [value.find(keys) for keys in paths] == [json_texts.part(text, keys) for keys in paths]


@given(texts, st.lists(path_keys, min_size=1, max_size=8), st.sampled_from([1, 8, 10_000]), st.integers(0, 300))
def test_parts_of_long_values_are_the_same(text: str, paths, short: int, parsed: int) -> None:
    value = Value(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_layout, "SHORT", short)
        patch.setattr(json_layout, "STEP_CHARACTERS", 11)
        patch.setattr(values, "ALWAYS_SHORT", 0)
        patch.setattr(values, "SHORT_CHARACTERS", parsed)
        patch.setattr(values, "MAX_PARSED", 2 * parsed)
        found = []
        for keys in paths:
            try:
                found.append(value.find(keys))
            except NotLookedUp:
                at_once(value.look_up(paths))
                found.append(value.find(keys))
    assert found == [json_texts.part(text, keys) for keys in paths]


def test_many_paths_take_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flows.look_up._TREE", 10)
    value = Value("[" + ",".join(map(str, range(100_000))) + "]")
    paths = [(index,) for index in (0, 5, 99_999, 100_000, 7, 8, 9, 10, 11, 12, 13, 14, 70_000)]
    at_once(value.look_up(paths))
    assert [value.find(keys) for keys in paths] == [None if key > 99_999 else str(key) for (key,) in paths]
