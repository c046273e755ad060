"""Limits of flows, as clients meet them, and long flows and values as a runtime executes them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from gateway.components import Components
from gateway.core.errors import InvalidFlow, TooLarge
from gateway.core.json_layout import Steps
from gateway.core.model import Blob, BlobType, ItemResult, SubmitParams
from gateway.flows.flow import Flow
from gateway.flows.flow_cache import FlowCache
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.storage.idempotency import IN_MEMORY

LIMIT = 100_000
LONG = {"output": "x" * LIMIT}


@pytest.fixture
async def runtime() -> AsyncIterator[EmbeddedRuntime]:
    components = Components({})
    runtime = await EmbeddedRuntime.open(IN_MEMORY, components, max_flow_bytes=LIMIT)
    await runtime.start(RunsService(runtime, grace=0))
    yield runtime
    await runtime.close()
    await components.close()


async def run(runtime: EmbeddedRuntime, flow: Any, value: Any = None, overrides: Any = None) -> ItemResult:
    params = SubmitParams(
        flow_id=await runtime.put_blob(Blob(json.dumps(flow), BlobType.FLOW)),
        inputs=[json.dumps(value)],
        overrides=None if overrides is None else json.dumps(overrides),
        wait=True,
    )
    results = (await RunsService(runtime, grace=0).submit(params)).results
    assert results
    return results[0]


def step(component: str, **members: Any) -> dict[str, Any]:
    return {"steps": [{"id": "s", "component": component, "input": members}], "output": {"$step": "s"}}


async def test_long_flows_are_not_stored(runtime: EmbeddedRuntime) -> None:
    with pytest.raises(TooLarge, match="data: a flow of more than 100,000 bytes"):
        await runtime.put_blob(Blob(json.dumps(LONG), BlobType.FLOW))


async def test_long_data_is_no_flow(runtime: EmbeddedRuntime) -> None:
    flow_id = await runtime.put_blob(Blob(json.dumps(LONG), BlobType.DATA))
    with pytest.raises(TooLarge, match="flow_id: a flow of more"):
        await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")


async def test_long_overrides_are_refused(runtime: EmbeddedRuntime) -> None:
    with pytest.raises(TooLarge, match="overrides: overrides of more"):
        await run(runtime, {"output": 1}, overrides={"s": {"value": LONG}})


@pytest.mark.parametrize(
    ("component", "field", "others"),
    [("/builtin/map", "workflow", {"items": []}), ("/builtin/iterate", "flow", {"initial_input": 1})],
)
async def test_long_flows_of_built_in_components_are_refused(
    runtime: EmbeddedRuntime, component: str, field: str, others: dict[str, Any]
) -> None:
    flow = step(component, **{field: {"$input": "$"}}, **others)
    error = (await run(runtime, flow, LONG)).error
    assert error is not None
    assert (error.code, error.message) == (-32013, f"{field}: a flow of more than 100,000 bytes")


async def test_a_long_flow_and_long_overrides_execute(runtime: EmbeddedRuntime) -> None:
    flow = {
        "steps": [{"id": "s", "component": "/builtin/create_messages", "input": {"user_prompt": {"$input": "$.text"}}}],
        "output": [*[{"$input": f"$.n[{index}]"} for index in range(2_000)], {"$step": "s", "path": "messages[0]"}],
    }
    value = {"text": "hi", "n": [*range(2_000)]}
    result = await run(runtime, flow, value)
    assert json.loads(result.value or "") == [*range(2_000), {"role": "user", "content": "hi"}]
    changed = await run(runtime, flow, value, {"s": {"value": {"input": {"user_prompt": "y" * 20_000}}}})
    assert json.loads(changed.value or "")[-1]["content"] == "y" * 20_000


async def test_long_values_are_looked_into(runtime: EmbeddedRuntime) -> None:
    flow = {
        "steps": [
            {"id": "a", "component": "/builtin/put_blob", "input": {"data": {"$input": "$.list"}}},
            {"id": "b", "component": "/builtin/get_blob", "input": {"blob_id": {"$step": "a", "path": "blob_id"}}},
        ],
        "output": {
            "last": {"$step": "b", "path": "$.data[299999]"},
            "middle": {"$input": "$.list[150000]"},
            "absent": {"$if": {"$input": "$.list[300000]"}, "then": 1, "else": {"$input": "$.end"}},
        },
    }
    result = await run(runtime, flow, {"list": [*range(300_000)], "end": "!"})
    assert json.loads(result.value or "") == {"last": 299_999, "middle": 150_000, "absent": "!"}


async def test_iterate_looks_into_long_values(runtime: EmbeddedRuntime) -> None:
    body = {"output": {"$if": {"$input": "$.done"}, "then": {"result": {"$input": "$.x[0]"}}, "else": {"next": 0}}}
    body["output"]["else"] = {"next": {"done": True, "x": {"$input": "$.x"}}}
    flow = step("/builtin/iterate", flow={"$literal": body}, initial_input={"$input": "$"})
    result = await run(runtime, flow, {"x": [*range(300_000)]})
    assert json.loads(result.value or "") == {"result": 0, "iterations": 2, "terminated": False}


async def test_the_same_long_flow_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = FlowCache._make

    def counted(cache: FlowCache, steps: Steps[Flow], length: int) -> Awaitable[Flow]:
        made.append(length)
        return make(cache, steps, length)

    monkeypatch.setattr(FlowCache, "_make", counted)
    text = json.dumps({"output": [{"$input": "$"}] * 3_000})
    cache = FlowCache()
    flows = await asyncio.gather(*[cache.compile(text, text, "flow") for _ in range(5)])
    assert len(made) == 1
    assert all(flow is flows[0] for flow in flows)


async def test_binary_data_is_no_flow() -> None:
    with pytest.raises(InvalidFlow, match="not binary data"):
        await FlowCache().compile("a", b"{}", "data")
