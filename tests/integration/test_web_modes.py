"""Connect and gRPC-Web in every way in which gateways are put together, and over every runtime: the same calls."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gateway.fronts.http.openrpc import openrpc_document
from runs.v1 import blobs_pb2, runs_pb2
from tests.integration.conftest import Join
from tests.support.openrpc import faults_of_answer
from tests.support.runtimes import (
    DOCUMENT,
    EMBEDDED,
    RELAY,
    STEPFLOW,
    SUPERSET,
    TEMPORAL_WORKERS,
    WORKERS,
    gateway_over,
)
from tests.support.web_lanes import WebLaneClient

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PROTOCOLS = ["connect+json", "connect+proto", "grpc-web+proto", "grpc-web-text+proto"]
MODES = [EMBEDDED, WORKERS, RELAY, SUPERSET, DOCUMENT, TEMPORAL_WORKERS, *STEPFLOW]
FLOW = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
TEXTS = ["1", '"two"', "null", "[3]"]
MISSING = "00000000-0000-7000-8000-000000000000"
INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, UNIMPLEMENTED = 3, 5, 6, 12


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=MODES)
async def mode(request: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, str]]:
    """A mode, and the HTTP address of a gateway in it."""
    folder: Path = tmp_path_factory.mktemp("mode")
    async with gateway_over(request.param, folder) as addresses:
        yield request.param, addresses.http


@asynccontextmanager
async def client_of(address: str, protocol: str) -> AsyncIterator[WebLaneClient]:
    async with aiohttp.ClientSession() as session:
        yield WebLaneClient(session, address, protocol)


async def put(client: WebLaneClient) -> str:
    told = await client.unary("PutBlob", blobs_pb2.PutBlobRequest(json=FLOW, type=blobs_pb2.BLOB_TYPE_FLOW))
    assert told.code == 0
    blob_id: str = told.messages[0].blob_id
    return blob_id


async def submitted(client: WebLaneClient, flow_id: str, key: str) -> runs_pb2.RunStatus:
    values = [runs_pb2.JsonValue(json=text) for text in TEXTS]
    request = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=values, idempotency_key=key)
    told = await client.unary("SubmitRun", request)
    assert told.code == 0
    run: runs_pb2.RunStatus = told.messages[0].run
    return run


async def followed(client: WebLaneClient, run_id: str) -> None:
    """Follow a run from its begin, and once more from the token of each message: no result is lost or doubled."""
    request = runs_pb2.GetRunRequest(run_id=run_id, wait=True, include_results=True)
    told = await client.stream("GetRun", request)
    assert told.code == 0
    assert texts(told.messages) == dict(enumerate(TEXTS))
    for place, message in enumerate(told.messages):
        request.resume_token = message.resume_token
        rest = await client.stream("GetRun", request)
        assert rest.code == 0
        assert texts([*told.messages[: place + 1], *rest.messages]) == dict(enumerate(TEXTS))


def texts(messages: Any) -> dict[int, str]:
    """The results by their items, each of which is told once."""
    found: dict[int, str] = {}
    for message in messages:
        for result in message.run.results:
            assert result.item_index not in found
            found[result.item_index] = result.value.json
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_runs_are_submitted_and_followed(mode: tuple[str, str], protocol: str) -> None:
    async with client_of(mode[1], protocol) as client:
        flow_id = await put(client)
        run = await submitted(client, flow_id, protocol)
        assert (await submitted(client, flow_id, protocol)).run_id == run.run_id
        await followed(client, run.run_id)
        watch = runs_pb2.WatchRunsRequest(add=runs_pb2.GetRunRequest(run_id=run.run_id, wait=True))
        told = await client.stream("WatchRuns", watch)
        assert (told.code, {message.run_id for message in told.messages}) == (0, {run.run_id})
        first = runs_pb2.SubmitRunStreamRequest(parameters=runs_pb2.SubmitRunRequest(flow_id=flow_id, wait=True))
        rest = [runs_pb2.SubmitRunStreamRequest(inputs=[runs_pb2.JsonValue(json=text)]) for text in TEXTS]
        told = await client.stream("SubmitRunStream", first, *rest)
        assert (told.code, told.messages[0].run.items.success) == (0, len(TEXTS))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_errors_are_those_of_the_contract(mode: tuple[str, str], protocol: str) -> None:
    runtime, address = mode
    async with client_of(address, protocol) as client:
        flow_id = await put(client)
        await submitted(client, flow_id, f"{protocol} again")
        other = runs_pb2.SubmitRunRequest(flow_id=flow_id, idempotency_key=f"{protocol} again")
        other.inputs.add(json="5")
        assert (await client.unary("SubmitRun", other)).code == ALREADY_EXISTS
        assert (await client.unary("SubmitRun", runs_pb2.SubmitRunRequest(flow_id="x"))).code == INVALID_ARGUMENT
        assert (await client.stream("GetRun", runs_pb2.GetRunRequest(run_id=MISSING))).code == NOT_FOUND
        listed = await client.unary("ListRuns", runs_pb2.ListRunsRequest(page_size=1))
        assert listed.code == (UNIMPLEMENTED if runtime == DOCUMENT else 0)


async def test_every_gateway_tells_the_same_of_its_methods(mode: tuple[str, str]) -> None:
    """What the runtime behind it lacks is told by an error that the document has."""
    runtime, address = mode
    async with aiohttp.ClientSession() as session:

        async def call(method: str, **params: object) -> Any:
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            async with session.post(f"http://{address}/", json=message) as response:
                return await response.json()

        assert (await call("rpc.discover"))["result"] == json.loads(openrpc_document())
        deleted = await call("runs/delete", runId=MISSING)
        lacks = runtime == DOCUMENT or runtime in STEPFLOW
        assert deleted["error"]["data"]["reason"] == ("UNSUPPORTED" if lacks else "RUN_NOT_FOUND")
        assert faults_of_answer("runs/delete", deleted) == []


@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_run_goes_on_over_another_gateway(join: Join, protocol: str) -> None:
    """On a Temporal server: what one gateway has told goes on at the other, by its tokens."""
    async with (
        client_of((await join()).addresses.http, protocol) as first,
        client_of((await join()).addresses.http, protocol) as second,
    ):
        run = await submitted(first, await put(first), "one")
        assert (await submitted(second, await put(second), "one")).run_id == run.run_id
        await followed(second, run.run_id)
        request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True, include_results=True)
        told = (await first.stream("GetRun", request)).messages
        request.resume_token = told[-1].resume_token
        rest = await second.stream("GetRun", request)
        assert texts([*told, *rest.messages]) == dict(enumerate(TEXTS))
