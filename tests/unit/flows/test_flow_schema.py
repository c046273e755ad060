"""The schema of flows and the compiler agree, as far as a schema can say what a flow is."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator

from gateway.core.errors import InvalidFlow
from gateway.core.json_layout import at_once
from gateway.flows.flow import compile_flow
from gateway.flows.flow_schema import flow_schema
from tests.fuzz.targets.flows import DOCUMENTS

ROOT: Final = Path(__file__).parents[3]
SCHEMA: Final = json.loads(flow_schema())
VALIDATOR: Final = Draft202012Validator(SCHEMA)
RECORDED: Final = sorted((ROOT / "tests/data/flows").glob("*.json"))

BEYOND: Final = re.compile(
    r"refers to step|another step has the id|expected the name of a variable|not a path from character"
)
"""What only the compiler refuses. Of paths it is white space that JavaScript does not know."""


def violations(document: str) -> list[str]:
    """Why the compiler refuses a flow."""
    try:
        at_once(compile_flow(document))
    except InvalidFlow as error:
        return list(map(str, error.violations))
    return []


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@given(DOCUMENTS)
def test_the_schema_and_the_compiler_agree(data: bytes) -> None:
    document = data.decode()
    refused = violations(document)
    errors = [error.message for error in VALIDATOR.iter_errors(json.loads(document))]
    if not refused:
        assert errors == []
    elif not errors:
        assert [why for why in refused if not BEYOND.search(why) and not why.startswith("schemas")] == []


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_flows_that_the_engine_took(file: Path) -> None:
    flow = json.loads(file.read_text(encoding="utf-8"))["flow"]
    assert VALIDATOR.is_valid(flow) == (file.stem != "19_legacy_from")


def test_the_flow_of_the_examples() -> None:
    assert VALIDATOR.is_valid(yaml.safe_load((ROOT / "examples/flow.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "flow",
    [
        {"steps": [{"id": "a", "component": "/x", "onError": {"action": "retry", "maxRetries": -1}}]},
        {"steps": [{"id": "a", "component": "/x", "onError": {"action": "give up"}}]},
        {"steps": [{"id": "a", "component": "x"}]},
        {"steps": [{"component": "/x"}]},
        {"steps": {}},
        {"name": "neither steps nor output"},
        {"output": {"$input": "$.a[b]"}},
        {"output": {"a": [{"$if": True}]}},
        {"output": {"$literal": 1, "$input": "$"}},
        {"output": {"$coalesce": {}}},
    ],
)
def test_both_refuse(flow: Any) -> None:
    assert violations(json.dumps(flow))
    assert not VALIDATOR.is_valid(flow)


@pytest.mark.parametrize(
    "path", ["", " ", "$", "a", "a.b", "$.a[0]", "$['a.b'][\"c\"][ 1 ]", "a[0]", ".a", "$..a", None]
)
def test_both_take_a_path(path: str | None) -> None:
    flow = {"output": {"$input": path}}
    assert violations(json.dumps(flow)) == []
    assert VALIDATOR.is_valid(flow)
