"""The use cases of the specification, with unmodified SDK component servers on the runtimes that call them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.model import Blob, BlobType, GetParams, RunState, SubmitParams
from tests.integration.conftest import Gateway, Start, command
from tests.support import sdk

DOUBLE: dict[str, Any] = {"name": "sub", "steps": [{"id": "d", "component": "/sdk/double", "input": {"$input": "$"}}]}
DOUBLE["output"] = {"$step": "d"}

pytestmark = pytest.mark.parametrize("version", sdk.VERSIONS)


@pytest.fixture
async def gateway(
    runtime_here: dict[str, Any], start: Start, sdk_python: Callable[[str], Path], version: str
) -> Gateway:
    """A gateway with a component server of one SDK version, started by command."""
    return await start(**runtime_here, components={"/sdk": command(sdk.SERVER, python=sdk_python(version))})


async def run(gateway: Gateway, component: str, payload: Any, **params: Any) -> Any:
    """The output of one component, executed as the only step of a run that is submitted over gRPC."""
    flow = {
        "steps": [{"id": "s", "component": f"/sdk/{component}", "input": {"$input": "$"}}],
        "output": {"$step": "s"},
    }
    flow_id = await put_flow(gateway, flow)
    params = {"flow_id": flow_id, "inputs": [json.dumps(payload)], "wait": True, **params}
    status = await gateway.grpc.submit(SubmitParams(**params))
    assert status.results is not None
    result = status.results[0]
    assert result.error is None, result.error
    assert result.value is not None
    return json.loads(result.value)


async def put_flow(gateway: Gateway, flow: Any) -> str:
    return await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))


def succeeded(*results: Any) -> list[Any]:
    """Outcomes as the SDK decodes them."""
    return [{"outcome": "success", "result": result} for result in results]


async def test_sub_workflow_orchestration(gateway: Gateway) -> None:
    output = await run(gateway, "orchestrator", {"flow": DOUBLE, "items": [{"n": n} for n in range(8)]})
    assert output["results"] == succeeded(*({"doubled": 2 * n} for n in range(8)))
    assert output["status"] == "success"


async def test_batch_processing_with_partial_failures(gateway: Gateway) -> None:
    flow = {
        "steps": [{"id": "f", "component": "/sdk/double", "input": {"n": {"$input": "n"}}}],
        "output": {"$step": "f"},
    }
    flow_id = await put_flow(gateway, flow)
    output = await run(gateway, "batch_processor", {"flow_id": flow_id, "items": [{"n": 1}, {}, {"n": 3}]})
    assert (output["processed"], output["failed"]) == (2, 1)
    assert [outcome["outcome"] for outcome in output["results"]] == ["success", "failed", "success"]


async def test_async_execution_with_polling(gateway: Gateway) -> None:
    flow_id = await put_flow(gateway, DOUBLE)
    output = await run(gateway, "async_processor", {"flow_id": flow_id, "data": {"n": 21}})
    assert output["same_run"] is True
    assert output["results"] == succeeded({"doubled": 42})


async def test_runs_nest_without_deadlock(gateway: Gateway) -> None:
    output = await run(gateway, "nest", {"depth": 12, "component": "/sdk/nest"})
    depth = 0
    while output["depth"]:
        output, depth = output["inner"]["result"], depth + 1
    assert depth == 12


async def test_sub_runs_of_many_items_at_once_are_kept_apart(gateway: Gateway) -> None:
    # Components of one run generate the same subflow keys for different sub-runs.
    flow_id = await put_flow(gateway, DOUBLE)
    step = {"id": "s", "component": "/sdk/async_processor", "input": {"flow_id": flow_id, "data": {"$input": "$"}}}
    outer = await put_flow(gateway, {"steps": [step], "output": {"$step": "s", "path": "results"}})
    inputs = [json.dumps({"n": n}) for n in range(20)]
    status = await gateway.grpc.submit(SubmitParams(flow_id=outer, inputs=inputs, wait=True))
    assert [result.error for result in status.results or []] == [None] * 20
    values = [json.loads(result.value or "null") for result in status.results or []]
    assert values == [succeeded({"doubled": 2 * n}) for n in range(20)]


async def test_one_component_submits_several_runs_at_once(gateway: Gateway) -> None:
    flow_id = await put_flow(gateway, DOUBLE)
    output = await run(gateway, "at_once", {"flow_id": flow_id, "items": [{"n": n} for n in range(5)]})
    assert output["results"] == succeeded(*({"doubled": 2 * n} for n in range(5)))


async def test_components_store_and_read_blobs(gateway: Gateway) -> None:
    data = {"text": "ü", "n": 7}
    output = await run(gateway, "blobs", {"data": data})
    assert output["data"] == data
    assert json.loads(str((await gateway.grpc.get_blob(output["blob_id"])).content)) == data


async def test_a_component_error_is_the_error_of_its_item(gateway: Gateway, version: str) -> None:
    flow = {
        "steps": [{"id": "s", "component": "/sdk/fail", "input": {"message": "on purpose"}}],
        "output": {"$step": "s"},
    }
    status = await gateway.jsonrpc.submit(SubmitParams(flow_id=await put_flow(gateway, flow), inputs=["{}"], wait=True))
    assert status.status is RunState.FAILED
    assert status.results is not None
    error = status.results[0].error
    assert error is not None
    assert "on purpose" in error.message
    assert error.code == (-32100 if version == "0.11.2" else -32003)


async def test_a_component_that_hangs_does_not_hold_a_waiting_client(gateway: Gateway) -> None:
    flow = {"steps": [{"id": "s", "component": "/sdk/hang", "input": {}}], "output": {"$step": "s"}}
    flow_id = await put_flow(gateway, flow)
    for client in (gateway.grpc, gateway.jsonrpc):
        status = await client.submit(SubmitParams(flow_id=flow_id, inputs=["{}"], wait=True, timeout=0.05))
        assert status.status in (RunState.PENDING, RunState.RUNNING)
        got = await client.get(GetParams(run_id=status.run_id, wait=True, timeout=0.05, include_results=True))
        assert got.results == []


async def test_a_server_that_dies_in_all_attempts_fails_its_items_and_comes_back(gateway: Gateway) -> None:
    flow = {"steps": [{"id": "s", "component": "/sdk/crash", "input": {}}], "output": {"$step": "s"}}
    status = await gateway.grpc.submit(SubmitParams(flow_id=await put_flow(gateway, flow), inputs=["{}"], wait=True))
    assert status.results is not None
    error = status.results[0].error
    assert error is not None
    assert -32303 <= error.code <= -32300
    assert (await run(gateway, "double", {"n": 4})) == {"doubled": 8}


async def test_a_client_that_leaves_does_not_cancel_its_run(gateway: Gateway) -> None:
    flow_id = await put_flow(gateway, DOUBLE)
    params = SubmitParams(
        flow_id=flow_id, inputs=['{"n":1}'] * 30, idempotency_key="left", max_concurrency=1, wait=True
    )
    waiting = asyncio.create_task(gateway.jsonrpc.submit(params))
    while True:
        submitted = await gateway.jsonrpc.submit(replace(params, wait=False))
        if submitted.items.success:
            break
    waiting.cancel()
    final = await gateway.grpc.get(GetParams(run_id=submitted.run_id, wait=True))
    assert (final.status, final.items.success) == (RunState.SUCCESS, 30)
