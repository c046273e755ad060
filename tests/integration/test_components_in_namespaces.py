"""What components ask for is asked for in the namespace of the run that they execute in, wherever they are called."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from gateway.adapter.blobs_proto import blob_to_put_request
from gateway.adapter.params_proto import submit_params_to_proto
from gateway.adapter.status_proto import run_status_from_proto
from gateway.core.model import Blob, BlobType, RunStatus, SubmitParams
from gateway.server.app import bridging
from gateway.server.settings import BridgeSettings
from runs.v1 import blobs_pb2, runs_pb2
from tests.integration.conftest import Gateway, Start
from tests.support.bridged_engine import QUEUE, bridged_engine
from tests.support.component_server import Call, ComponentServer
from tests.support.temporal_server import TemporalServer

NAMESPACES: Final = {name: (("runs-namespace", name),) for name in ("mine", "theirs", "default")}
INNER: Final = Blob('{"name":"inner","steps":[],"output":{"$input":"$"}}', BlobType.FLOW)
OUTER: Final = Blob(
    '{"name":"outer","steps":[{"id":"s","component":"/sdk/nest","input":{"$input":"$"}}],"output":{"$step":"s"}}',
    BlobType.FLOW,
)


class Nesting:
    """A component that submits the flow that its input names, puts a blob, and looks for a run of another namespace.

    Its output is what it was answered.
    """

    def __init__(self) -> None:
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __call__(self, call: Call) -> None:
        """Execute, or take an answer."""
        if "input" not in call.message.get("params", {}):
            if "method" not in call.message:
                self._answers.put_nowait(call.message)
            await call.accept()
            return
        given = call.message["params"]["input"]
        await call.stream()
        told = []
        for method, params in (
            ("runs/submit", {"flowId": given["flow"], "inputs": [1], "wait": True}),
            ("blobs/put", {"data": {"of": "a component"}, "blobType": "data"}),
            ("runs/get", {"runId": given["hidden"]}),
        ):
            await call.event({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
            told.append(await self._answers.get())
        await call.output(told)


@pytest.fixture
async def components() -> AsyncIterator[str]:
    async with ComponentServer(Nesting()).running() as url:
        yield url


@pytest.fixture(params=["embedded", "queue", "bridge", "temporal"])
async def gateway(
    request: pytest.FixtureRequest, start: Start, components: str, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """One that calls the component itself; one that takes the tasks of an engine; one with a bridge before it; and
    one of two on a Temporal server, each of which executes.
    """
    async with AsyncExitStack() as stack:
        if request.param == "embedded":
            yield await start(components={"/sdk": components})
            return
        if request.param == "temporal":
            server: TemporalServer = request.getfixturevalue("temporal_server")
            shared = {"runtime": server.runtime(f"test-{uuid.uuid4()}"), "blobs": f"file://{tmp_path}"}
            _, gateway = [await start(**shared, components={"/sdk": components}) for _ in range(2)]
            yield gateway
            return
        engine = await stack.enter_async_context(bridged_engine("0.13.0", tmp_path))
        state = str(tmp_path / "keys.db")
        if request.param == "queue":
            yield await start(runtime=engine.runtime, queue=QUEUE, state=state, components={"/sdk": components})
            return
        gateway = await start(runtime=engine.runtime, state=state)
        settings = {"engine": engine.url, "queue": QUEUE, "gateway": f"grpc://{gateway.addresses.grpc}"}
        others = {"components": {"/sdk": components}, "metrics_address": "off"}
        bridge = BridgeSettings.model_validate({**settings, **others})
        await stack.enter_async_context(bridging(bridge))
        yield gateway


async def put(gateway: Gateway, blob: Blob, namespace: str) -> str:
    metadata = NAMESPACES[namespace]
    return str((await gateway.grpc.blobs.PutBlob(blob_to_put_request(blob), metadata=metadata)).blob_id)


async def submit(gateway: Gateway, flow_id: str, given: object, namespace: str) -> RunStatus:
    request = submit_params_to_proto(SubmitParams(flow_id=flow_id, inputs=[json.dumps(given)], wait=True))
    response = await gateway.grpc.runs.SubmitRun(request, metadata=NAMESPACES[namespace])
    return run_status_from_proto(response.run, with_results=True)


async def is_there(call: Awaitable[object]) -> bool:
    try:
        return bool(await call)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return False


async def test_components_act_in_the_namespace_of_their_run(gateway: Gateway) -> None:
    flows = {name: await put(gateway, INNER, name) for name in ("mine", "theirs")}
    hidden = await submit(gateway, flows["theirs"], 1, "theirs")
    given = {"flow": flows["mine"], "hidden": hidden.run_id}
    run = await submit(gateway, await put(gateway, OUTER, "mine"), given, "mine")
    assert run.results is not None
    submitted, stored, looked = json.loads(run.results[0].value or "null")
    assert submitted["result"]["namespace"] == "mine"
    assert looked["error"]["message"] == f"no run has the id '{hidden.run_id}'"
    blob = blobs_pb2.GetBlobRequest(blob_id=stored["result"]["blobId"])
    inner = runs_pb2.GetRunRequest(run_id=submitted["result"]["runId"])
    for namespace, metadata in NAMESPACES.items():
        found = await is_there(gateway.grpc.runs.GetRun(inner, metadata=metadata).read())
        assert found is await is_there(gateway.grpc.blobs.GetBlob(blob, metadata=metadata)) is (namespace == "mine")
