"""JSON as YAML: what readers of YAML make of it is the same value, to the last digit."""

import json
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.json_to_yaml import DEEPEST_INDENT, LONGEST_KEY, json_to_yaml
from gateway.core.yaml_json import yaml_to_json

WORDS = [
    "null",
    "No",
    "y",
    "~",
    "1",
    "0x1",
    "1e5",
    "12:30:45",
    "2025-01-15",
    "a: b",
    "a #b",
    "- a",
    "a:",
    "'",
    "",
    " a",
]
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from(WORDS))
NUMBERS_WRITTEN = ["0", "-0", "-0.0", "1e400", "12.30", "1E-7", "0.1234567890123456789", "1152921504606846977"]
NUMBERS = st.sampled_from(NUMBERS_WRITTEN)
SCALARS = st.one_of(TEXTS.map(json.dumps), NUMBERS, st.sampled_from(["null", "true", "false"]))


def a_list(values: list[str]) -> str:
    return f"[{','.join(values)}]"


def an_object(members: dict[str, str]) -> str:
    return f"{{{','.join(f'{json.dumps(name)}:{value}' for name, value in members.items())}}}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(a_list), st.dictionaries(TEXTS, inner, max_size=3).map(an_object)
    ),
)


@given(VALUES)
def test_yaml_means_the_json_that_it_was_made_of(text: str) -> None:
    written = json_to_yaml(text)
    assert json.loads(yaml_to_json(written), parse_int=str, parse_float=Decimal) == json.loads(
        text, parse_int=str, parse_float=Decimal
    )


@given(st.recursive(TEXTS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner))))
def test_readers_of_older_yaml_find_the_same_strings(value: Any) -> None:
    assert yaml.safe_load(json_to_yaml(json.dumps(value))) == value


@pytest.mark.parametrize("number", [*NUMBERS_WRITTEN, "-1E5", "2e+3", "1.5e-3", "0e0"])
def test_readers_of_older_yaml_find_numbers(number: str) -> None:
    assert yaml.safe_load(json_to_yaml(f"[{number}]")) == [json.loads(number)]


def test_it_is_written_for_people() -> None:
    text = """{"runId":"0197a8f0-0000-7000-8000-00000000000a","flowId":"sha256:abc","items":{"total":2},"labels":{},
    "at":"2025-01-15T10:30:00Z","results":[{"itemIndex":0,"value":[[1,2.50],{"a":null}]},{"itemIndex":1,"value":[]}],
    "note":"no: it isn't","team":"search and find","flag":"no","é":"ü\\n"}"""
    assert json_to_yaml(text).splitlines() == [
        "runId: 0197a8f0-0000-7000-8000-00000000000a",
        "flowId: sha256:abc",
        "items:",
        "  total: 2",
        "labels: {}",
        'at: "2025-01-15T10:30:00Z"',
        "results:",
        "  - itemIndex: 0",
        "    value:",
        "      - - 1",
        "        - 2.50",
        "      - a: null",
        "  - itemIndex: 1",
        "    value: []",
        'note: "no: it isn\'t"',
        "team: search and find",
        'flag: "no"',
        '"é": "ü\\n"',
    ]


@pytest.mark.parametrize("depth", [DEEPEST_INDENT, 1_000, 100_000])
def test_a_deep_value_does_not_become_white_space(depth: int) -> None:
    text = '[{"a":' * depth + "1" + "}]" * depth
    written = json_to_yaml(text)
    assert len(written) < 2 * len(text) + DEEPEST_INDENT**2
    assert written.splitlines()[0].startswith("- a:")
    if depth == DEEPEST_INDENT:
        assert yaml_to_json(written) == text


@pytest.mark.parametrize("around", [1, DEEPEST_INDENT])
@pytest.mark.parametrize("length", [LONGEST_KEY, 100_000])
def test_keys_may_be_long(around: int, length: int) -> None:
    for value in ("1", '{"b":[1]}', "[]"):
        text = "[" * around + f'{{"{"k" * length}":{value},"c":2}}' + "]" * around
        assert yaml_to_json(json_to_yaml(text)) == text


@pytest.mark.parametrize("text", ["1", '"a"', "{}", "[]", "[1]", "null", '""'])
def test_any_value_is_a_document(text: str) -> None:
    assert yaml_to_json(json_to_yaml(text)) == text
