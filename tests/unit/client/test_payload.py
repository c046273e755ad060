"""Values become JSON text, and exact text stays what it is."""

from typing import Any

import pytest

from gateway.client.payload import Json, flow_text, text_of, value_of
from gateway.core.errors import InvalidParams


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (2**100, str(2**100)),
        ({"z": [1, 2.5], "a": "ü"}, '{"z":[1,2.5],"a":"ü"}'),
        ((1, 2), "[1,2]"),
        (Json(' {"a": 1e400} '), '{"a": 1e400}'),
    ],
)
def test_a_value_is_written_compactly_and_text_is_kept(value: object, text: str) -> None:
    assert text_of(value, "inputs", 0) == text


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": float("inf")},
        b"1",
        {1, 2},
        object(),
        "\ud800",
        endless(),
        [Json("1")],
        Json("{"),
        Json("1 2"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(InvalidParams) as refused:
        text_of(value, "inputs", 3)
    assert [violation.path for violation in refused.value.violations] == [("inputs", 3)]


def test_a_lone_surrogate_is_refused_in_the_words_of_the_server() -> None:
    for value in (["a\ud800"], Json('["a\ud800"]')):
        with pytest.raises(InvalidParams, match=r"^inputs\[0\]: lone surrogate \(character 3\)$"):
            text_of(value, "inputs", 0)


def test_what_nests_too_deeply_is_refused() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidParams, match="nested too deeply"):
        text_of(value, "inputs", 0)
    while isinstance(value, list):  # Python would free it level by level as well.
        value = value.pop()


@pytest.mark.parametrize(
    ("flow", "text"),
    [
        ('{ "steps": [] }', '{ "steps": [] }'),
        (b'{ "steps": [] }', '{ "steps": [] }'),
        (Json("{ }"), "{ }"),
        ({"steps": []}, '{"steps":[]}'),
    ],
)
def test_a_flow_is_kept_as_it_stands_if_it_is_text(flow: Any, text: str) -> None:
    assert flow_text(flow) == text


@pytest.mark.parametrize("flow", ["", "steps: []", b"\xff", b'"\xff"', "\ud800", Json("]")])
def test_a_flow_that_is_no_json_is_refused(flow: Any) -> None:
    with pytest.raises(InvalidParams, match=r"^flow: "):
        flow_text(flow)


def test_integers_of_any_size_come_back() -> None:
    assert value_of(str(2**200)) == 2**200
