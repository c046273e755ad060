"""Streams end when the credentials of their callers expire, on both fronts and both transports."""

import json
import time
from typing import Any

import aiohttp
from grpc import StatusCode, aio

from gateway.access.access import OpenAccess
from gateway.access.presented import Presented
from gateway.core.caller import Caller
from gateway.core.model import SubmitParams
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.grpc.server import Transport
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.embedded import opened
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

EVENTS = {"Content-Type": "application/json", "Accept": "text/event-stream"}


class ExpiringAccess(OpenAccess):
    """Lets everybody in, for half a second."""

    def known(self, presented: Presented) -> Caller:
        return Caller(expires=time.time() + 0.5)


async def waiting_run(runtime: ScriptedRuntime) -> str:
    """A run that does not end by itself."""
    flow_id = await runtime.put_blob(FLOW)
    return (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")).status.run_id


async def ending(stream: Any) -> StatusCode:
    """How a stream ends, whatever comes before."""
    try:
        while await stream.read() is not aio.EOF:
            pass
    except aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


async def test_streams_of_grpc_end(runtime: ScriptedRuntime, service: RunsService, transport: Transport) -> None:
    front = GrpcFront(RunsServices(service), "127.0.0.1:0", access=ExpiringAccess(), transport=transport)
    await front.start()
    run_id = await waiting_run(runtime)
    followed = runs_pb2.GetRunRequest(run_id=run_id, wait=True)
    async with aio.insecure_channel(front.address) as channel:
        stub: Any = runs_pb2_grpc.RunsServiceStub(channel)
        assert await ending(stub.GetRun(followed, timeout=20)) is StatusCode.UNAUTHENTICATED
        watch = stub.WatchRuns(timeout=20)
        await watch.write(runs_pb2.WatchRunsRequest(add=followed))
        assert await ending(watch) is StatusCode.UNAUTHENTICATED
    await front.stop(0)


async def last_event(service: RunsService, method: str, params: dict[str, Any]) -> Any:
    """The event that ends a stream."""
    front = HttpFront(JsonRpcMethods(RunsServices(service)), "127.0.0.1:0", access=ExpiringAccess())
    await front.start()
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{front.address}/", json=body, headers=EVENTS) as response,
    ):
        text = await response.text()
    await front.stop(0)
    return json.loads(text.strip().rpartition("data: ")[2])


async def test_the_event_stream_of_a_run_ends_with_an_error(runtime: ScriptedRuntime, service: RunsService) -> None:
    last = await last_event(service, "runs/get", {"runId": await waiting_run(runtime), "wait": True})
    assert (last["id"], last["error"]["code"]) == (7, -32016)


async def test_the_event_stream_of_a_set_ends_with_an_error() -> None:
    async with opened() as embedded:
        await embedded.start()
        last = await last_event(embedded.service, "runs/watch", {})
    assert (last["id"], last["error"]["code"]) == (7, -32016)
