import json
from typing import Any

import pytest

from gateway.core.errors import InvalidFlow, InvalidParams
from gateway.core.json_layout import at_once
from gateway.flows.flow import OnError, compile_flow
from tests.support.flow_host import FlowHost, compiled, echo, run

STEP = {"id": "s", "component": "/x/y"}


def step(**members: Any) -> dict[str, Any]:
    return {**STEP, **members}


def violations(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidFlow) as caught:
        at_once(compile_flow(document if isinstance(document, str) else json.dumps(document)))
    return {"/".join(map(str, path)): text for path, text in caught.value.violations}


def wrong_step(**members: Any) -> list[str]:
    return list(violations({"steps": [step(**members)]}))


def test_a_flow_and_its_parts() -> None:
    flow = compiled(
        [step(input={"k": 1}), step(id="t", component="/builtin/eval", mustExecute=True, onError={"action": "retry"})],
        {"$step": "s"},
        name="f",
        description="ignored",
        unknown=[1],
    )
    assert flow.name == "f"
    assert list(flow.steps) == ["s", "t"]
    assert flow.forced == ("t",)
    assert flow.components == {"/x/y": 0, "/builtin/eval": 1}


@pytest.mark.parametrize("document", ['{"steps":[]}', '{"output":null}', '{"steps":null,"output":null,"name":null}'])
async def test_absent_members(document: str) -> None:
    flow = at_once(compile_flow(document))
    assert (flow.name, flow.steps, flow.defaults) == (None, {}, {})
    assert await run(flow) is None


@pytest.mark.parametrize("document", ["null", "[]", '"flow"', "1", "{}", '{"m":"a"}', '{"name":"f"}'])
def test_what_is_no_flow(document: str) -> None:
    assert list(violations(document)) == [""]


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"steps": "x"}, "steps"),
        ({"steps": {}}, "steps"),
        ({"steps": [1]}, "steps/0"),
        ({"name": 1}, "name"),
        ({"output": {"$foo": 1}}, "output/$foo"),
    ],
)
def test_wrong_members(members, path: str) -> None:
    assert path in violations({"output": None, **members})


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"id": ""}, "steps/0/id"),
        ({"id": 1}, "steps/0/id"),
        ({"id": None}, "steps/0/id"),
        ({"component": ""}, "steps/0/component"),
        ({"component": "x/y"}, "steps/0/component"),
        ({"component": "builtin://eval"}, "steps/0/component"),
        ({"component": ["/x"]}, "steps/0/component"),
        ({"input": {"user_prompt": {"$foo": 1}}}, "steps/0/input/user_prompt/$foo"),
        ({"mustExecute": "true"}, "steps/0/mustExecute"),
        ({"onError": "fail"}, "steps/0/onError"),
        ({"onError": {}}, "steps/0/onError/action"),
        ({"onError": {"action": "skip"}}, "steps/0/onError/action"),
        ({"onError": {"action": 1}}, "steps/0/onError/action"),
        ({"onError": {"action": "retry", "maxRetries": -1}}, "steps/0/onError/maxRetries"),
        ({"onError": {"action": "retry", "maxRetries": 1.5}}, "steps/0/onError/maxRetries"),
        ({"onError": {"action": "retry", "maxRetries": 2**32}}, "steps/0/onError/maxRetries"),
        ({"onError": {"action": "retry", "maxRetries": "1"}}, "steps/0/onError/maxRetries"),
    ],
)
def test_wrong_steps(members, path: str) -> None:
    assert wrong_step(**members) == [path]


def test_missing_members_of_a_step() -> None:
    assert list(violations({"steps": [{}]})) == ["steps/0/id", "steps/0/component"]


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [
        (None, OnError()),
        ({"action": "fail"}, OnError()),
        ({"action": "useDefault"}, OnError(default="null")),
        ({"action": "useDefault", "defaultValue": {"$input": "x"}}, OnError(default='{"$input": "x"}')),
        ({"action": "retry"}, OnError(retries=3)),
        ({"action": "retry", "maxRetries": 0}, OnError(retries=0)),
        ({"action": "retry", "maxRetries": 5.0}, OnError(retries=5)),
    ],
)
def test_on_error(on_error, expected: OnError) -> None:
    assert compiled([step(onError=on_error)]).steps["s"].on_error == expected


def test_references_go_to_earlier_steps_only() -> None:
    first = step(id="a", input={"x": [{"$step": "a"}, {"$step": "b"}, {"$step": "nope"}]})
    found = violations(
        {"steps": [first, step(id="b", input={"$step": "a"})], "output": [{"$step": "b"}, {"$step": ""}]}
    )
    assert found == {
        "steps/0/input/x/0": "refers to step 'a', which does not come before this one",
        "steps/0/input/x/1": "refers to step 'b', which does not come before this one",
        "steps/0/input/x/2": "refers to step 'nope', which does not exist",
        "output/1": "refers to step '', which does not exist",
    }


def test_duplicate_ids() -> None:
    found = violations({"steps": [step(), step(id="t"), step(), step(id="t")]})
    assert list(found) == ["steps/2/id", "steps/3/id"]


def test_all_violations_are_told() -> None:
    document = {"name": 1, "steps": [step(id=""), step(component="x", input={"$foo": 1}), 7], "output": {"$step": "n"}}
    assert list(violations(document)) == [
        "name",
        "steps/0/id",
        "steps/2",
        "steps/2/id",
        "steps/1/component",
        "steps/1/input/$foo",
        "steps/2/component",
        "output",
    ]


def schemas(variables: Any, **properties: Any) -> dict[str, Any]:
    return {"output": None, "schemas": {"type": "object", "properties": {"variables": variables, **properties}}}


def test_defaults_of_variables() -> None:
    variables = {
        "given": {"type": "string", "default": "hello"},
        "big": {"default": 2**60 + 1},
        "nothing": {"default": None},
        "string": {"type": "string"},
        "number": {"type": "number"},
        "integer": {"type": "integer"},
        "boolean": {"type": "boolean"},
        "null": {"type": "null"},
        "nullable": {"type": ["string", "null"]},
        "either": {"type": ["string", "number"]},
        "object": {"type": "object"},
        "any": {},
        "every": True,
        "required": {"type": "string"},
        "both": {"type": "string", "default": "d"},
    }
    flow = at_once(compile_flow(json.dumps(schemas({"properties": variables, "required": ["required", "both"]}))))
    assert flow.defaults == {
        "given": '"hello"',
        "big": str(2**60 + 1),
        "nothing": "null",
        "string": '""',
        "number": "0",
        "integer": "0",
        "boolean": "false",
        "null": "null",
        "nullable": "null",
        "both": '"d"',
    }


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"output": 1, "schemas": 1}, "schemas"),
        ({"output": 1, "schemas": {"properties": []}}, "schemas/properties"),
        (schemas([]), "schemas/properties/variables"),
        (schemas({"properties": 1}), "schemas/properties/variables/properties"),
        (schemas({"properties": {"v": 1}}), "schemas/properties/variables/properties/v"),
        (schemas({"properties": {"v": {"type": 1}}}), "schemas/properties/variables/properties/v/type"),
        (schemas({"properties": {"v": {"type": [1]}}}), "schemas/properties/variables/properties/v/type/0"),
        (schemas({"required": "v"}), "schemas/properties/variables/required"),
        (schemas({"required": [1]}), "schemas/properties/variables/required/0"),
    ],
)
def test_wrong_schemas(document, path: str) -> None:
    assert list(violations(document)) == [path]


@pytest.mark.parametrize("document", [schemas(None), schemas(True), {"output": 1, "schemas": {}}])
def test_schemas_that_say_nothing(document) -> None:
    assert at_once(compile_flow(json.dumps(document))).defaults == {}


def overridden():
    steps = [step(id="a", input={"x": 1, "y": {"p": 1, "q": 2}}), step(id="b", input={"$step": "a"})]
    return compiled(steps, [{"$step": "a"}, {"$step": "b"}], name="f")


async def outputs(overrides: str) -> Any:
    host = FlowHost({"/x/y": echo, "/other": echo})
    flow = at_once(overridden().with_overrides(overrides))
    return await run(flow, host=host), [component for component, *_ in host.calls]


@pytest.mark.parametrize("spelling", ['{"steps":{"a":%s}}', '{"a":%s}', '{"steps":null,"a":%s}'])
@pytest.mark.parametrize("kind", ["", '"$type":"merge_patch",', '"$type":null,'])
async def test_merge_patch_in_both_spellings(spelling: str, kind: str) -> None:
    patch = '{"component":"/other","input":{"x":1e400,"y":{"p":null,"new":{"deep":[null],"gone":null}}}}'
    overrides = spelling % f'{{{kind}"value":{patch}}}'
    flow = overridden()
    changed = at_once(flow.with_overrides(overrides))
    assert changed.steps["a"].component == "/other"
    host = FlowHost({"/x/y": echo, "/other": echo})
    await run(changed, host=host)
    assert host.calls[0][:2] == ("/other", '{"x":1e400,"y":{"q":2,"new":{"deep":[null]}}}')
    assert flow.steps["a"].component == "/x/y"
    assert (changed.name, list(changed.steps)) == ("f", ["a", "b"])


@pytest.mark.parametrize(
    "overrides",
    [
        "null",
        "{}",
        '{"steps":{}}',
        '{"steps":null}',
        '{ "steps" : null, "nosuch":{"value":{}} }',
        '{"steps":{"nosuch":{"value":{"input":{}}}}}',
        '{"nosuch":{"value":{"id":"a"}}}',
    ],
)
async def test_overrides_without_effect(overrides: str) -> None:
    assert await outputs(overrides) == await outputs("null")


async def test_an_override_may_add_members() -> None:
    flow = compiled([step()], {"$step": "s"})
    changed = at_once(
        flow.with_overrides('{"s":{"value":{"input":{"k":{"$input":"$"}},"onError":{"action":"useDefault"}}}}')
    )
    assert await run(changed, 5, FlowHost({"/x/y": echo})) == {"k": 5}
    assert changed.steps["s"].on_error == OnError(default="null")


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ("[]", "overrides"),
        ("5", "overrides"),
        ('{"steps":[]}', "overrides/steps"),
        ('{"steps":{},"a":{"value":{}}}', "overrides/a"),
        ('{"a":1}', "overrides/a"),
        ('{"a":{}}', "overrides/a/value"),
        ('{"a":{"value":[]}}', "overrides/a/value"),
        ('{"a":{"value":null}}', "overrides/a/value"),
        ('{"steps":{"a":{"$type":"json_patch","value":[]}}}', "overrides/steps/a/$type"),
        ('{"steps":{"a":{"$type":7,"value":{}}}}', "overrides/steps/a/$type"),
        ('{"steps":{"b":{"value":{"input":{"$step":"b"}}}}}', "overrides/steps/b/value/input"),
        ('{"steps":{"a":{"value":{"input":{"x":{"$foo":1}}}}}}', "overrides/steps/a/value/input/x/$foo"),
        ('{"a":{"value":{"component":null}}}', "overrides/a/value/component"),
        ('{"a":{"value":{"onError":{"action":"skip"}}}}', "overrides/a/value/onError/action"),
        ('{"a":{"value":{"id":"z","component":"/z"}}}', "overrides/a/value/id"),
        ('{"b":{"value":{"id":"a"}}}', "overrides/b/value/id"),
        ('{"b":{"value":{"input":{"also":1}}}}', "overrides/b/value/input/also"),
    ],
)
def test_bad_overrides(overrides: str, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        at_once(compiled([step(id="a"), step(id="b", input={"$step": "a"})], {"$step": "b"}).with_overrides(overrides))
    assert not isinstance(caught.value, InvalidFlow)
    assert path in ["/".join(map(str, violation.path)) for violation in caught.value.violations]


def test_a_patch_may_not_nest_too_deeply() -> None:
    patch = '{"input":' + '{"k":' * 200 + "1" + "}" * 200 + "}"
    with pytest.raises(InvalidParams, match="levels"):
        at_once(compiled([step(id="a")]).with_overrides(f'{{"a":{{"value":{patch}}}}}'))
