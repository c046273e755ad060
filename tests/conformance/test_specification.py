"""Each request and response example of the specification: verbatim over HTTP, and translated over gRPC.

Only what an example cannot know is put into it: the id of the flow that is stored here, and the id of the run.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.adapter.params_json import get_params_from_json, submit_params_from_json
from gateway.adapter.params_proto import get_params_to_proto, submit_params_to_proto
from gateway.adapter.status_proto import run_status_from_proto
from gateway.adapter.status_to_json import run_status_to_canonical_json
from gateway.core.json_text import members
from gateway.core.model import Blob, BlobType
from tests.integration.conftest import Gateway, Start
from tests.support.component_server import Call, ComponentServer

EXAMPLE_FLOW_ID = "sha256:abc123..."
EXAMPLE_RUN_ID = "550e8400-e29b-41d4-a716-446655440000"

SUBMIT_REQUEST = """
{
"jsonrpc": "2.0",
"id": "submit-run-001",
"method": "runs/submit",
"params": {
"flowId": "sha256:abc123...",
"inputs": [
{"user_id": "user1", "action": "process"},
{"user_id": "user2", "action": "analyze"}
],
"wait": true,
"maxConcurrency": 10
}
}
"""
SUBMIT_RESPONSE = """
{
"jsonrpc": "2.0",
"id": "submit-run-001",
"result": {
"runId": "550e8400-e29b-41d4-a716-446655440000",
"flowId": "sha256:abc123...",
"flowName": "Data Processing Workflow",
"status": "success",
"items": {
"total": 2,
"pending": 0,
"running": 0,
"success": 2,
"failed": 0,
"cancelled": 0
},
"createdAt": "2025-01-15T10:30:00Z",
"completedAt": "2025-01-15T10:30:05Z",
"results": [
{
"itemIndex": 0,
"result": {"outcome": "success", "value": {"processed": true}},
"completedAt": "2025-01-15T10:30:03Z"
},
{
"itemIndex": 1,
"result": {"outcome": "success", "value": {"analyzed": true}},
"completedAt": "2025-01-15T10:30:05Z"
}
]
}
}
"""
GET_REQUEST = """
{
"jsonrpc": "2.0",
"id": "get-run-001",
"method": "runs/get",
"params": {
"runId": "550e8400-e29b-41d4-a716-446655440000",
"wait": true,
"includeResults": true,
"resultOrder": "byIndex"
}
}
"""
GET_RESPONSE = SUBMIT_RESPONSE.replace("submit-run-001", "get-run-001")

FLOW = {
    "name": "Data Processing Workflow",
    "steps": [{"id": "act", "component": "/jobs/act", "input": {"$input": "action"}}],
    "output": {"$step": "act"},
}


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Gateway]:
    """A gateway with the component that the examples imply."""

    async def act(call: Call) -> None:
        done = {"process": "processed", "analyze": "analyzed"}[call.message["params"]["input"]]
        await call.result({"output": {done: True}})

    handshake = {
        "initialize": {"serverProtocolVersion": 1},
        "components/list": {"components": [{"component": "/act"}]},
    }
    async with ComponentServer(act, handshake).running() as url:
        yield await start(components={"/jobs": url})


@pytest.fixture
async def flow_id(gateway: Gateway) -> str:
    return await gateway.grpc.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))


def holds(given: Any, example: Any) -> bool:
    """Whether an answer has every member of the example; it may have more."""
    if isinstance(example, dict):
        return isinstance(given, dict) and all(name in given and holds(given[name], example[name]) for name in example)
    if isinstance(example, list):
        return isinstance(given, list) and len(given) == len(example) and all(map(holds, given, example))
    return bool(given == example)


def fitted(example: str, given: Any, flow_id: str) -> Any:
    """The example with the ids and the times of an answer."""
    fitted = json.loads(example.replace(EXAMPLE_FLOW_ID, flow_id).replace(EXAMPLE_RUN_ID, given["runId"]))
    status = fitted["result"]
    for name in ("createdAt", "completedAt"):
        status[name] = given[name]
    for result, other in zip(status["results"], given["results"], strict=True):
        result["completedAt"] = other["completedAt"]
    return fitted


async def test_over_http_verbatim(gateway: Gateway, flow_id: str) -> None:
    submitted = json.loads(await gateway.jsonrpc.post(SUBMIT_REQUEST.replace(EXAMPLE_FLOW_ID, flow_id)))
    run = submitted["result"]
    assert holds(submitted, fitted(SUBMIT_RESPONSE, run, flow_id))
    got = json.loads(await gateway.jsonrpc.post(GET_REQUEST.replace(EXAMPLE_RUN_ID, run["runId"])))
    assert holds(got, fitted(GET_RESPONSE, run, flow_id))


async def test_over_grpc_translated(gateway: Gateway, flow_id: str) -> None:
    submit = submit_params_from_json(params_of(SUBMIT_REQUEST.replace(EXAMPLE_FLOW_ID, flow_id)))
    response = await gateway.grpc.runs.SubmitRun(submit_params_to_proto(submit))
    run = json.loads(run_status_to_canonical_json(run_status_from_proto(response.run, with_results=True)))
    assert holds(run, fitted(SUBMIT_RESPONSE, run, flow_id)["result"])
    get = get_params_from_json(params_of(GET_REQUEST.replace(EXAMPLE_RUN_ID, run["runId"])))
    (last,) = [update async for update in gateway.grpc.runs.GetRun(get_params_to_proto(get))]
    assert json.loads(run_status_to_canonical_json(run_status_from_proto(last.run, with_results=True))) == run


async def test_what_an_example_cannot_know_is_refused_by_its_name(gateway: Gateway) -> None:
    submitted = json.loads(await gateway.jsonrpc.post(SUBMIT_REQUEST))
    assert submitted["error"]["data"]["violations"][0]["field"] == "flowId"
    got = json.loads(await gateway.jsonrpc.post(GET_REQUEST))
    assert (got["id"], got["error"]["code"]) == ("get-run-001", -32000)


def params_of(request: str) -> str:
    return members(request.strip())["params"]
