import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import json_layout
from gateway.core.errors import InvalidParams
from gateway.core.json_layout import at_once
from gateway.core.model import JsonText
from gateway.flows import parts
from gateway.flows.expression_compiler import compile_expression
from gateway.flows.expressions import Scope
from gateway.flows.flow import compile_flow
from gateway.flows.task import ItemFailure

NAMES = ["a", "b", "é", "$literal", "$if", "then", "else", "$coalesce", "$input", "$step", "path", "$variable", "$foo"]
expressions = st.recursive(
    st.sampled_from([None, 0, "x", "$.a", "$", {"$input": "$.a"}, {"$input": "$.b[1]"}, {"$step": "s", "path": "k"}]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "é"]), inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=3)
        | st.fixed_dictionaries({"$if": inner, "then": inner, "else": inner})
        | st.fixed_dictionaries({"$coalesce": st.lists(inner, max_size=3)})
    ),
    max_leaves=12,
)
objects = st.recursive(
    st.sampled_from([None, 0, "x", [1, {"a": None}]]),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "é"]), inner, max_size=4),
    max_leaves=12,
)


def scope() -> Scope:
    return Scope('{"a":{"x":1},"b":[null,2]}', {"v": "5"}, {})


def outcome(text: JsonText, *, in_steps: bool) -> Any:
    """What becomes of an expression: its violations, its failure, its value, or the steps that it misses."""
    seen = scope()
    try:
        expression = compile_expression(text, ())
        parts = at_once(expression.steps(seen)) if in_steps else None
        value = None if in_steps else expression.evaluate(seen)
        value = value if parts is None else "".join(parts)
    except InvalidParams as error:
        return error.message
    except ItemFailure as failure:
        return failure.error
    return seen.missing if value is None else json.loads(value)


@given(expressions, st.sampled_from([None, 1]))
def test_long_expressions_are_compiled_and_evaluated_as_short_ones_are(expression: Any, indent: int | None) -> None:
    text = json.dumps(expression, indent=indent)
    expected = outcome(text, in_steps=False)
    with pytest.MonkeyPatch.context() as patch:
        for module in (json_layout, parts):
            patch.setattr(module, "SHORT", 2)
        patch.setattr(json_layout, "STEP_CHARACTERS", 5)
        assert outcome(text, in_steps=True) == expected


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = {**target} if isinstance(target, dict) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), change)
    return result


@given(objects, objects.filter(lambda value: value is not None), st.sampled_from([2, 8_192]))
def test_overrides_are_merge_patches(target: Any, change: Any, short: int) -> None:
    step = {"id": "s", "component": "/c", "input": {"$literal": target}}
    overrides = {"s": {"value": {"input": {"$literal": change}}}}
    with pytest.MonkeyPatch.context() as patch:
        for module in (json_layout, parts):
            patch.setattr(module, "SHORT", short)
        flow = at_once(compile_flow(json.dumps({"steps": [step], "output": 1})))
        changed = at_once(flow.with_overrides(json.dumps(overrides)))
    assert json.loads(changed.steps["s"].input.evaluate(scope()) or "") == merged(target, change)
