"""A call beyond a limit of its caller is refused by far less work than it takes to serve it."""

import asyncio
import http.client
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest

import gateway
from gateway.access.access import OpenAccess
from gateway.access.limit_rules import LimitRule
from gateway.access.limits import CallerLimits
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.grpc.server import Transport
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.services import RunsServices
from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.embedded import Embedded, opened

CALLS = 20
GATEWAY = str(Path(gateway.__file__).parent)
FLOW = {"steps": [], "output": {"$input": "$"}}


@pytest.fixture
async def embedded() -> AsyncIterator[Embedded]:
    async with opened() as embedded:
        await embedded.start()
        yield embedded


async def work_of(make_calls: Callable[[], None]) -> float:
    """How many functions of the gateway one call takes, in the thread of the event loop; another one makes the calls.

    What the transport does for a call, it does for one that is refused as well.
    """
    number = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal number
        number += event == "call" and frame.f_code.co_filename.startswith(GATEWAY)

    sys.setprofile(count)
    try:
        await asyncio.to_thread(make_calls)
    finally:
        sys.setprofile(None)
    return number / CALLS


async def both(access: OpenAccess, call: Callable[[], bool]) -> tuple[float, float]:
    """The work of serving, and of refusing."""

    def make_calls(*, served: bool) -> None:
        for _ in range(CALLS):
            assert call() is served

    await asyncio.to_thread(make_calls, served=True)
    serving = await work_of(lambda: make_calls(served=True))
    access.limits = CallerLimits([LimitRule(requests_per_second=1e-6)])
    await asyncio.to_thread(call)
    return serving, await work_of(lambda: make_calls(served=False))


@pytest.mark.parametrize(("transport", "part"), [("grpcio", 1 / 2), ("native", 1 / 3)])
async def test_refusing_a_call_of_grpc(embedded: Embedded, transport: Transport, part: float) -> None:
    flow_id = await embedded.put(FLOW)
    access = OpenAccess()
    front = GrpcFront(RunsServices(embedded.service), "127.0.0.1:0", access=access, transport=transport)
    await front.start()
    request = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[runs_pb2.JsonValue(json="1")], wait=True)
    with grpc.insecure_channel(front.address) as channel:
        submit: Any = runs_pb2_grpc.RunsServiceStub(channel).SubmitRun

        def call() -> bool:
            try:
                submit(request)
            except grpc.RpcError:
                return False
            return True

        serving, refusing = await both(access, call)
    await front.stop(0)
    assert refusing < part * serving, (serving, refusing)


async def test_refusing_a_request_of_http(embedded: Embedded) -> None:
    flow_id = await embedded.put(FLOW)
    access = OpenAccess()
    methods = JsonRpcMethods(RunsServices(embedded.service), access=access)
    front = HttpFront(methods, "127.0.0.1:0", access=access)
    await front.start()
    params = {"flowId": flow_id, "inputs": [1], "wait": True}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params})
    client = http.client.HTTPConnection(front.address)

    def call() -> bool:
        client.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = client.getresponse()
        answer.read()
        return answer.status == 200

    serving, refusing = await both(access, call)
    client.close()
    await front.stop(0)
    assert refusing < serving / 2, (serving, refusing)
