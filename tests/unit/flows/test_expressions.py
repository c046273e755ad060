import json
from typing import Any

import pytest

from gateway.core.errors import InvalidFlow
from gateway.core.json_layout import at_once
from gateway.core.model import ItemError
from gateway.flows.expression_compiler import MAX_DEPTH, compile_expression
from gateway.flows.expressions import Scope
from gateway.flows.task import ItemFailure
from gateway.flows.values import Value

FAILED = ItemError(code=-32100, message="it failed")
MISSING = {"$input": "nowhere"}
INPUT = {"a": {"b": [0, {"c": "C"}]}, "odd key": 1, "x.y": "dotted", "zero": 0, "nothing": None, "q": {"]": "bracket"}}


def scope(value: Any = None, variables=None, defaults=None, steps=None) -> Scope:
    made = Scope(json.dumps(INPUT if value is None else value), variables or {}, defaults or {})
    for step_id, outcome in (steps or {}).items():
        made.steps[step_id] = outcome if isinstance(outcome, ItemError) else Value(json.dumps(outcome))
    return made


def compiled(expression: Any):
    return compile_expression(json.dumps(expression), ("output",))


def evaluated(expression: Any, **seen: Any) -> Any:
    text = compiled(expression).evaluate(scope(**seen))
    assert text is not None
    return json.loads(text)


def failure(expression: Any, **seen: Any) -> ItemError:
    with pytest.raises(ItemFailure) as caught:
        compiled(expression).evaluate(scope(**seen))
    return caught.value.error


def violations(expression: Any) -> dict[str, str]:
    with pytest.raises(InvalidFlow) as caught:
        compiled(expression)
    return {"/".join(map(str, path)): text for path, text in caught.value.violations}


@pytest.mark.parametrize(
    "text",
    [
        "1152921504606846977",
        "1e400",
        "0.1234567890123456789",
        "-0.0",
        "1E+2",
        '"\\u00e9\\/"',
        '{"b":1,"a":2,"b":3}',
        '[ 1,\n{"z" : null} ]',
        '"$input"',
        '["$step", {"$": 1, "$5": 2}]',
    ],
)
def test_text_passes_unchanged(text: str) -> None:
    constant = compile_expression(text, ())
    literal = compile_expression(f'{{"$literal": {text}}}', ())
    passed = compile_expression('{"in": [{"$input": "$.k[0]"}]}', ())
    assert json.loads(constant.evaluate(scope()) or "") == json.loads(text)
    assert literal.evaluate(scope()) == text
    assert passed.evaluate(Scope(f'{{"k": [{text}]}}', {}, {})) == f'{{"in":[{text}]}}'


def test_a_constant_keeps_its_spelling() -> None:
    text = '{"b" : [1e400, -0.0],  "a": 1.10}'
    assert compile_expression(text, ()).evaluate(scope()) == text


def test_order_of_members_is_that_of_the_document() -> None:
    text = compile_expression('{"z": {"$input": "zero"}, "a": 1, "m": {"y": {"$input": "zero"}, "b": 2}}', ())
    assert text.evaluate(scope()) == '{"z":0,"a":1,"m":{"y":0,"b":2}}'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", INPUT),
        ("", INPUT),
        (None, INPUT),
        ("$.a.b[1].c", "C"),
        ("a.b[1].c", "C"),
        ("$['a'][\"b\"][ 1 ]['c']", "C"),
        ("$['odd key']", 1),
        ("odd key", 1),
        ("$['x.y']", "dotted"),
        ("$.q[']']", "bracket"),
        ("zero", 0),
        ("nothing", None),
    ],
)
def test_paths(path, value) -> None:
    assert evaluated({"$input": path}) == value


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("m", "$.m"),
        ("x.y", "$.x.y"),
        ("$.a.b[7]", "$.a.b[7]"),
        ("$.a.b.c", "$.a.b.c"),
        ("$.a[0]", "$.a[0]"),
        ("$['no such']", "$.no such"),
        ("zero.deeper", "$.zero.deeper"),
        ("nothing.deeper", "$.nothing.deeper"),
    ],
)
def test_a_path_that_leads_nowhere_fails(path: str, spelled: str) -> None:
    assert failure({"$input": path}) == ItemError(code=-32200, message=f"Input path {spelled} not found")


@pytest.mark.parametrize("path", ["$[", "$['a]", "$[-1]", "$[a]", "$a", "$[0]a", "$[1.5]", 7, {}])
def test_a_malformed_path_is_refused(path) -> None:
    assert list(violations({"k": {"$input": path}})) == ["output/k/$input"]
    assert list(violations({"$step": "s", "path": path})) == ["output/path"]
    assert list(violations({"$variable": path})) == ["output/$variable"]


def test_a_value_that_nests_too_deeply_to_be_looked_into_fails() -> None:
    deep = Scope("[" * 100_000 + "]" * 100_000, {}, {})
    with pytest.raises(ItemFailure, match="nested too deeply"):
        compiled({"$input": "$[0]"}).evaluate(deep)
    assert compiled({"$input": "$"}).evaluate(deep) == deep.input.text


def test_step_outputs() -> None:
    steps = {"s": {"m": [1, 2]}, "none": None}
    assert evaluated({"$step": "s"}, steps=steps) == {"m": [1, 2]}
    assert evaluated({"$step": "s", "path": "m[1]"}, steps=steps) == 2
    assert evaluated({"$step": "s", "path": None}, steps=steps) == {"m": [1, 2]}
    assert evaluated({"$step": "none", "path": "$.any.thing"}, steps=steps) is None
    assert failure({"$step": "s", "path": "x"}, steps=steps) == ItemError(
        code=-32200, message="Path $.x not found in the output of step 's'"
    )


def test_a_failed_step_fails_what_refers_to_it() -> None:
    assert failure(["a", {"$step": "s", "path": "x"}], steps={"s": FAILED}) == FAILED


def test_variables() -> None:
    variables = {"greeting": '"hi"', "cfg": '{"a":{"b":1e400}}', "null": "null"}
    defaults = {"greeting": '"hello"', "opt": '""'}
    seen = {"variables": variables, "defaults": defaults}
    assert evaluated({"$variable": "greeting"}, **seen) == "hi"
    assert evaluated({"$variable": "opt", "default": "unused"}, **seen) == ""
    assert evaluated({"$variable": "null", "default": "unused"}, **seen) is None
    assert compiled({"$variable": "$.cfg.a.b"}).evaluate(scope(**seen)) == "1e400"
    assert compiled({"$variable": "cfg.a.b"}).evaluate(scope(**seen)) == "1e400"
    assert evaluated({"$variable": "nosuch", "default": {"$input": "zero"}}, **seen) == 0
    assert evaluated({"$variable": "cfg.a.x", "default": None}, **seen) is None
    assert failure({"$variable": "nosuch"}) == ItemError(code=-32200, message="Undefined variable: nosuch")
    assert failure({"$variable": "cfg.a.x"}, **seen).message == "Undefined variable: cfg"


@pytest.mark.parametrize("name", ["", "$", "$[0]", None])
def test_a_variable_needs_a_name(name) -> None:
    assert list(violations({"$variable": name})) == ["output/$variable"]


@pytest.mark.parametrize(
    ("condition", "branch"), [(None, "no"), (False, "no"), (MISSING, "no"), ({"$step": "f"}, "no")]
)
@pytest.mark.parametrize("nested", [False, True])
def test_falsy_conditions(condition, branch: str, nested: bool) -> None:
    expression = {"$if": condition, "then": "yes", "else": branch}
    assert evaluated([expression] if nested else expression, steps={"f": FAILED}) in (branch, [branch])


@pytest.mark.parametrize("condition", [0, "", [], {}, True, "false", {"$input": "zero"}])
def test_everything_else_is_truthy(condition) -> None:
    assert evaluated({"$if": condition, "then": "yes", "else": "no"}) == "yes"


def test_a_missing_else_is_null_and_the_other_branch_is_not_looked_at() -> None:
    assert evaluated({"$if": False, "then": MISSING}) is None
    assert evaluated({"$if": True, "then": 1, "else": MISSING}) == 1
    assert failure({"$if": True, "then": MISSING}).code == -32200


def test_coalesce() -> None:
    steps = {"none": None, "s": 0}
    assert evaluated({"$coalesce": [{"$step": "none", "path": "x"}, {"$step": "s"}, MISSING]}, steps=steps) == 0
    assert evaluated({"$coalesce": [None, {"$step": "none"}]}, steps=steps) is None
    assert evaluated({"$coalesce": []}) is None
    assert failure({"$coalesce": [None, MISSING, 1]}).code == -32200


def missing(expression: Any, **seen: Any) -> dict[str, bool]:
    looked = scope(**seen)
    assert compiled(expression).evaluate(looked) is None
    return looked.missing


def test_missing_steps_are_found_in_one_go() -> None:
    assert missing({"a": {"$step": "s1"}, "b": [{"$step": "s2", "path": "x"}]}) == {"s1": True, "s2": True}


def test_only_what_is_needed_is_missed() -> None:
    choice = {"$if": {"$step": "c"}, "then": {"$step": "t"}, "else": {"$step": "e"}}
    assert missing(choice) == {"c": False}
    assert missing(choice, steps={"c": 1}) == {"t": True}
    assert missing(choice, steps={"c": FAILED}) == {"e": True}
    assert missing({"$coalesce": [{"$step": "a"}, {"$step": "b"}]}) == {"a": True}
    assert missing([choice, {"$step": "c"}]) == {"c": True}
    assert missing([{"$step": "c"}, choice]) == {"c": True}


def test_a_condition_that_has_failed_needs_no_more_steps() -> None:
    assert missing([{"$if": [{"$step": "a"}, MISSING], "then": 1, "else": 2}, {"$step": "b"}]) == {"b": True}


def test_references() -> None:
    expression = compiled({"k": [{"$step": "s1"}, {"$if": {"$step": "s2"}, "then": {"$literal": {"$step": "s3"}}}]})
    assert expression.references == ("s1", "s2")


def test_literal_stops_expansion() -> None:
    data = {"$step": "nope", "x": {"$input": "$"}, "$foo": {"$from": 1}}
    assert evaluated({"a": {"$literal": data}}) == {"a": data}


def test_the_first_name_in_order_decides() -> None:
    assert evaluated({"$literal": {"$if": 1}}) == {"$if": 1}
    assert list(violations({"$step": "s", "$literal": 1})) == ["output/$step"]
    assert list(violations({"$step": "s", "$if": True, "then": 1})) == ["output/$step"]


@pytest.mark.parametrize("name", ["$foo", "$inputs", "$Step", "$merge"])
def test_unknown_expressions_are_refused(name: str) -> None:
    found = violations({"k": [{name: 1, "x": 2}]})
    assert list(found) == [f"output/k/0/{name}"]
    assert f"unknown expression '{name}'" in found[f"output/k/0/{name}"]


@pytest.mark.parametrize(
    "data",
    [
        {"$blob": "0" * 64, "blobType": "data", "size": 5},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"x": {"$ref": "#/$defs/y"}}},
        {"$": 1, "$5": 2, "5$": 3},
    ],
)
def test_names_in_use_as_data_pass(data) -> None:
    assert evaluated({"k": data, "i": {"$input": "zero"}}) == {"k": data, "i": 0}


def test_legacy_from_is_refused_with_its_replacement() -> None:
    (text,) = violations({"$from": {"workflow": "input"}, "path": "m"}).values()
    assert "$from" in text
    assert '{"$input": path}' in text
    assert '{"$step": id, "path": path}' in text


def test_an_escaped_name_is_an_expression_all_the_same() -> None:
    assert compile_expression('{"\\u0024input": "zero"}', ()).evaluate(scope()) == "0"


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ({"$step": 1}, "output/$step"),
        ({"$step": "s", "field": "x"}, "output/field"),
        ({"$input": "m", "path": "x"}, "output/path"),
        ({"$if": True}, "output/then"),
        ({"$if": True, "then": 1, "otherwise": 2}, "output/otherwise"),
        ({"$coalesce": 1}, "output/$coalesce"),
        ({"$coalesce": [1, {"$foo": 1}]}, "output/$coalesce/1/$foo"),
        ({"$variable": "v", "default": {"$foo": 1}}, "output/default/$foo"),
        ({"$literal": 1, "more": 2}, "output/more"),
    ],
)
def test_malformed_expressions(expression, path: str) -> None:
    assert list(violations(expression)) == [path]


def test_all_violations_are_told() -> None:
    found = violations({"a": {"$foo": 1}, "b": [{"$step": 1}, {"$input": 2}], "c": {"$if": {"$bar": 1}, "then": 1}})
    assert list(found) == ["output/a/$foo", "output/b/0/$step", "output/b/1/$input", "output/c/$if/$bar"]


def nested(levels: int, inside: Any) -> Any:
    for level in range(levels):
        inside = [inside] if level % 2 else {"k": inside}
    return inside


def test_nesting_is_bounded() -> None:
    assert evaluated(nested(MAX_DEPTH - 1, {"$input": "zero"})) == nested(MAX_DEPTH - 1, 0)
    (text,) = violations(nested(MAX_DEPTH, {"$input": "zero"})).values()
    assert "levels" in text


def test_constants_may_nest_more_deeply() -> None:
    text = "[" * 5_000 + "]" * 5_000
    assert compile_expression(text, ()).evaluate(scope()) == text


def test_many_constant_parts_compile_in_linear_time() -> None:
    wide = {str(n): n for n in range(50_000)} | {"last": {"$input": "zero"}}
    assert evaluated(wide) == wide | {"last": 0}


def test_a_value_may_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flows.expressions.MAX_JSON_BYTES", 10)
    assert evaluated([{"$input": "zero"}, {"$input": "zero"}]) == [0, 0]
    with pytest.raises(ItemFailure) as caught:
        at_once(compiled([{"$input": "$"}, {"$input": "$"}]).steps(scope()))
    error = caught.value.error
    assert (error.code, error.message) == (-32101, "a value exceeds 10 characters")
