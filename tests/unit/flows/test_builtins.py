import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.core.model import Blob, BlobType, ItemError, ItemResult, ItemStatistics, JsonText, RunState, RunStatus
from gateway.flows.builtins import BUILTINS
from gateway.flows.nesting import MAX_DEPTH
from gateway.flows.task import ItemFailure, Task
from gateway.flows.values import ALWAYS_SHORT
from tests.support.flow_host import TASK, FlowHost, compiled, echo, failing, run

IDENTITY = {"steps": [], "output": {"$input": "$"}}


def step(name: str, value: Any) -> dict[str, Any]:
    return {"id": "s", "component": f"/builtin/{name}", "input": {"$literal": value}}


async def call(name: str, value: Any, host: FlowHost | None = None) -> Any:
    return await run(compiled([step(name, value)], {"$step": "s"}), host=host)


async def failure(name: str, value: Any, host: FlowHost | None = None) -> ItemError:
    with pytest.raises(ItemFailure) as caught:
        await call(name, value, host)
    return caught.value.error


def test_names() -> None:
    names = ["create_messages", "map", "iterate", "eval", "put_blob", "get_blob", "load_file"]
    assert list(BUILTINS) == [f"/builtin/{name}" for name in names]


async def test_create_messages() -> None:
    user = {"role": "user", "content": "hi\n\u00e9"}
    assert await call("create_messages", {"user_prompt": "hi\n\u00e9"}) == {"messages": [user]}
    assert await call("create_messages", {"user_prompt": "hi\n\u00e9", "system_instructions": None}) == {
        "messages": [user]
    }
    assert await call("create_messages", {"user_prompt": "hi\n\u00e9", "system_instructions": "", "more": 1}) == {
        "messages": [{"role": "system", "content": ""}, user]
    }


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("create_messages", None, "expected an object"),
        ("create_messages", {}, "user_prompt: is required"),
        ("create_messages", {"user_prompt": 5}, "user_prompt: expected a string"),
        ("create_messages", {"user_prompt": None}, "user_prompt: expected a string"),
        ("create_messages", {"user_prompt": "x", "system_instructions": 5}, "system_instructions: expected a string"),
        ("map", {"items": []}, "workflow: is required"),
        ("map", {"workflow": IDENTITY}, "items: is required"),
        ("map", {"workflow": IDENTITY, "items": {}}, "items: expected an array"),
        ("map", {"workflow": {"steps": [{}]}, "items": []}, "workflow.steps[0].id: is required"),
        ("map", {"workflow": {"steps": [{"id": ""}]}, "items": []}, "workflow.steps[0].id: must not be empty"),
        (
            "map",
            {"workflow": IDENTITY, "items": [], "max_concurrency": 0},
            "max_concurrency: expected an integer from 1",
        ),
        ("iterate", {"initial_input": 1}, "flow: is required"),
        ("iterate", {"flow": IDENTITY}, "initial_input: is required"),
        ("iterate", {"flow": {"output": {"$foo": 1}}, "initial_input": 1}, "flow.output.$foo: unknown expression"),
        (
            "iterate",
            {"flow": IDENTITY, "initial_input": 1, "max_iterations": -1},
            "max_iterations: expected an integer",
        ),
        (
            "iterate",
            {"flow": IDENTITY, "initial_input": 1, "max_iterations": 1.5},
            "max_iterations: expected an integer",
        ),
        (
            "iterate",
            {"flow": IDENTITY, "initial_input": 1, "max_iterations": "3"},
            "max_iterations: expected an integer",
        ),
        ("eval", {"input": 1}, "flow_id: is required"),
        ("eval", {"flow_id": "xx", "input": 1}, "flow_id: expected 64 hex digits"),
        ("eval", {"flow_id": "0" * 64}, "input: is required"),
        ("put_blob", {}, "data: is required"),
        ("put_blob", {"data": 1, "blob_type": "binary"}, "blob_type: expected 'flow' or 'data'"),
        ("put_blob", {"data": 1, "blob_type": 1}, "blob_type: expected a string"),
        ("put_blob", {"data": {"x": 1}, "blob_type": "flow"}, "data: not a flow"),
        ("get_blob", {}, "blob_id: is required"),
        ("get_blob", {"blob_id": "xx"}, "blob_id: expected 64 hex digits"),
        ("get_blob", {"blob_id": 5}, "blob_id: expected a string"),
    ],
)
async def test_bad_input_names_the_field(name: str, value: Any, field: str) -> None:
    error = await failure(name, value)
    assert error.code == -32103
    assert error.message.startswith(f"bad input of /builtin/{name}: {field}")


async def test_map() -> None:
    host = FlowHost()
    flow = {"output": {"got": {"$input": "k"}}}
    items = [{"k": 2**60 + 1}, {"x": 1}, {"k": None}]
    assert await call("map", {"workflow": flow, "items": items, "max_concurrency": 2.0}, host) == {
        "results": [
            {"outcome": "success", "result": {"got": 2**60 + 1}},
            {"outcome": "failed", "error": {"code": -32200, "message": "Input path $.k not found"}},
            {"outcome": "success", "result": {"got": None}},
        ],
        "successful": 2,
        "failed": 1,
    }
    ((flow_id, inputs, max_concurrency, scope, key),) = host.runs
    assert host.blobs[flow_id] == Blob(json.dumps(flow), BlobType.FLOW)
    assert [json.loads(text) for text in inputs] == items
    assert (max_concurrency, scope, key) == (2, "run/0/s", "map")


async def test_map_of_nothing() -> None:
    assert await call("map", {"workflow": IDENTITY, "items": []}) == {"results": [], "successful": 0, "failed": 0}


async def test_results_tell_the_data_of_errors() -> None:
    host = FlowHost({"/fail": failing(-7, "no", '{"why":1}')})
    flow = {"steps": [{"id": "f", "component": "/fail"}], "output": {"$step": "f"}}
    results = (await call("map", {"workflow": flow, "items": [1]}, host))["results"]
    assert results == [{"outcome": "failed", "error": {"code": -7, "message": "no", "data": {"why": 1}}}]


class CancellingHost(FlowHost):
    """A host whose nested runs are cancelled."""

    async def run_flow(
        self, flow_id: str, inputs: Sequence[JsonText], max_concurrency: int | None, task: Task, key: str
    ) -> RunStatus:
        return RunStatus(
            run_id="r",
            flow_id=flow_id,
            status=RunState.CANCELLED,
            items=ItemStatistics(total=1, cancelled=1),
            created_at=0,
            results=[ItemResult(item_index=0, status=RunState.CANCELLED)],
        )


async def test_cancelled_items_count_as_failed() -> None:
    error = {"code": -32100, "message": "the item was cancelled"}
    assert await call("map", {"workflow": IDENTITY, "items": [1]}, CancellingHost()) == {
        "results": [{"outcome": "failed", "error": error}],
        "successful": 0,
        "failed": 1,
    }


COUNT_DOWN = {
    "steps": [],
    "output": {"$if": {"$input": "[1]"}, "then": {"next": {"$input": "[1]"}}, "else": {"result": {"$input": "[0]"}}},
}


async def test_iterate_until_there_is_a_result() -> None:
    """A linked list, walked to its end."""
    walked = await call("iterate", {"flow": COUNT_DOWN, "initial_input": [1, [2, ["end", None]]]})
    assert walked == {"result": "end", "iterations": 3, "terminated": False}


@pytest.mark.parametrize(("limit", "iterations"), [(0, 0), (1, 1), (3.0, 3), (None, 1000)])
async def test_iterate_until_the_limit(limit, iterations: int) -> None:
    flow = {"output": {"next": {"$input": "$"}}}
    assert await call("iterate", {"flow": flow, "initial_input": 2**60 + 1, "max_iterations": limit}) == {
        "result": 2**60 + 1,
        "iterations": iterations,
        "terminated": True,
    }


async def test_a_result_may_be_null() -> None:
    flow = {"output": {"result": None, "next": 1}}
    assert await call("iterate", {"flow": flow, "initial_input": 1}) == {
        "result": None,
        "iterations": 1,
        "terminated": False,
    }


@pytest.mark.parametrize("output", [None, 5, [], {}, {"other": 1}])
async def test_iterate_needs_a_result_or_a_next(output) -> None:
    error = await failure("iterate", {"flow": {"output": output}, "initial_input": 1})
    assert (error.code, "'result' or 'next'" in error.message) == (-32100, True)


async def test_a_failure_inside_iterate_fails_it() -> None:
    error = await failure("iterate", {"flow": {"output": {"$input": "x"}}, "initial_input": 1})
    assert error == ItemError(code=-32200, message="Input path $.x not found")


async def test_steps_inside_iterate_have_scopes_of_their_own() -> None:
    host = FlowHost({"/echo": echo})
    inner: dict[str, Any] = {
        "steps": [{"id": "e", "component": "/echo", "input": {"$input": "$"}}],
        "output": {"next": {"$step": "e"}},
    }
    mapping = {"workflow": IDENTITY, "items": [1]}
    inner["steps"].append({"id": "m", "component": "/builtin/map", "input": {"$literal": mapping}, "mustExecute": True})
    await call("iterate", {"flow": inner, "initial_input": 1, "max_iterations": 2}, host)
    assert [task.scope for *_, task in host.calls] == ["run/0/s/0/e", "run/0/s/1/e"]
    assert [task.step_id for *_, task in host.calls] == ["e", "e"]
    assert [scope for _, _, _, scope, _ in host.runs] == ["run/0/s/0/m", "run/0/s/1/m"]


async def test_the_flow_of_iterate_has_variables_of_its_own() -> None:
    flow = {"output": {"result": {"$variable": "v", "default": "own"}}}
    output = await run(
        compiled([step("iterate", {"flow": flow, "initial_input": 1})], {"$step": "s"}), variables={"v": 1}
    )
    assert output["result"] == "own"


async def test_a_flow_that_hands_itself_on_comes_to_an_end() -> None:
    again = {"flow": {"$input": "flow"}, "initial_input": {"$input": "$"}}
    endless: dict[str, Any] = {
        "steps": [{"id": "s", "component": "/builtin/iterate", "input": again}],
        "output": {"next": {"$step": "s"}},
    }
    with pytest.raises(ItemFailure) as caught:
        await run(compiled(**endless), {"flow": endless})
    place = "/".join(["run", "0", "s", *["0/s"] * MAX_DEPTH])
    assert caught.value.error == ItemError(
        code=-32021, message=f"{place}: runs nest at most {MAX_DEPTH} deep (max_depth)"
    )


async def test_a_value_that_grows_without_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flows.expressions.MAX_JSON_BYTES", 10_000)
    flow = {"output": {"next": [{"$input": "$"}, {"$input": "$"}]}}
    error = await failure("iterate", {"flow": flow, "initial_input": 1})
    assert error == ItemError(code=-32101, message="a value exceeds 10000 characters")


async def test_a_value_that_nests_without_end_fails() -> None:
    flow = {"output": {"next": [{"$input": "$"}]}}
    error = await failure("iterate", {"flow": flow, "initial_input": 1, "max_iterations": 50_000})
    assert (error.code, "nested too deeply" in error.message) == (-32101, True)


async def test_outputs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flows.builtins.MAX_JSON_BYTES", 100)
    error = await failure("map", {"workflow": IDENTITY, "items": [1, 2, 3, 4]})
    assert error == ItemError(code=-32101, message="the output of /builtin/map exceeds 100 characters")


@pytest.mark.parametrize("spelling", ["{}", "sha256:{}"])
async def test_blobs_and_eval(spelling: str) -> None:
    host = FlowHost()
    blob_id = (await call("put_blob", {"data": IDENTITY, "blob_type": "flow"}, host))["blob_id"]
    assert len(blob_id) == 64
    assert await call("get_blob", {"blob_id": spelling.format(blob_id)}, host) == {"data": IDENTITY}
    evaluated = await call("eval", {"flow_id": spelling.format(blob_id), "input": {"v": 1}}, host)
    assert evaluated["result"] == {"outcome": "success", "result": {"v": 1}}
    assert evaluated["run_id"]
    ((flow_id, inputs, max_concurrency, scope, key),) = host.runs
    assert (flow_id, inputs, max_concurrency) == (f"sha256:{blob_id}", ['{"v": 1}'], None)
    assert (scope, key) == ("run/0/s", "eval")


async def test_eval_tells_of_a_failure() -> None:
    host = FlowHost()
    blob_id = await host.put_blob(Blob('{"output":{"$input":"x"}}', BlobType.FLOW))
    assert (await call("eval", {"flow_id": blob_id, "input": 1}, host))["result"] == {
        "outcome": "failed",
        "error": {"code": -32200, "message": "Input path $.x not found"},
    }


async def test_unknown_blobs() -> None:
    assert (
        await failure("eval", {"flow_id": "0" * 64, "input": 1})
    ).message == f"no flow has the id 'sha256:{'0' * 64}'"
    assert (await failure("get_blob", {"blob_id": "0" * 64})).code == -32005


@pytest.mark.parametrize("kind", [None, "data"])
async def test_data_blobs_keep_their_text(kind) -> None:
    host = FlowHost()
    flow = compiled(
        [{"id": "s", "component": "/builtin/put_blob", "input": {"data": {"$input": "$"}, "blob_type": kind}}],
        {"$step": "s", "path": "blob_id"},
    )
    blob_id = await run(flow, {"b": [1e300], "a": 2}, host)
    assert host.blobs[f"sha256:{blob_id}"] == Blob('{"b": [1e+300], "a": 2}', BlobType.DATA)


async def test_binary_blobs_are_no_values() -> None:
    host = FlowHost()
    blob_id = await host.put_blob(Blob(b"\x00", BlobType.DATA))
    error = await failure("get_blob", {"blob_id": blob_id}, host)
    assert (error.code, "binary" in error.message) == (-32100, True)


def test_the_task_of_an_item_has_no_step() -> None:
    assert TASK.step_id is None


async def test_long_inputs_are_read_like_short_ones() -> None:
    long = "é" * ALWAYS_SHORT
    host = FlowHost()
    blob_id = (await call("put_blob", {"data": IDENTITY, "more": long, "blob_type": "flow"}, host))["blob_id"]
    evaluated = await call("eval", {"more": [1], "input": {"v": long}, "flow_id": blob_id}, host)
    assert evaluated["result"] == {"outcome": "success", "result": {"v": long}}
    items = [1, [2, "3,4"], long, *range(5_000)]
    mapped = await call("map", {"workflow": IDENTITY, "items": items}, host)
    assert [result["result"] for result in mapped["results"]] == items
    assert (mapped["successful"], mapped["failed"]) == (5_003, 0)
    assert (await call("create_messages", {"user_prompt": long}))["messages"] == [{"role": "user", "content": long}]
    assert (await failure("map", {"workflow": IDENTITY, "items": long})).message.endswith("items: expected an array")
    assert "expected an object" in (await failure("map", long)).message
