"""Calls over Connect and gRPC-Web leave no cycle, however they end: nothing of them stays until the collector runs."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable

import pytest

from gateway.fronts.http.limits import HttpLimits
from tests.support.garbage import PAYLOAD, left_behind, uncollected
from tests.support.scripted_runtime import MISSING_RUN
from tests.support.web_front import BLOBS, RUNS, STREAM, WebServer, framed, web_server

LARGE = "x" * (2 * PAYLOAD)
TEXT = {"Content-Type": "application/grpc-web-text+json"}
Play = Callable[[WebServer], Awaitable[object]]


async def answered(server: WebServer) -> None:
    put = await server.call(f"{BLOBS}/PutBlob", {"json": json.dumps(LARGE), "type": "BLOB_TYPE_DATA"})
    await server.call(f"{BLOBS}/GetBlob", put.json())


async def refused(server: WebServer) -> None:
    await server.call(f"{RUNS}/SubmitRun", {"flowId": "x", "inputs": [{"json": json.dumps(LARGE)}]})
    await server.call(f"{RUNS}/SubmitRun", {"absent": LARGE})
    await server.call(f"{RUNS}/Absent", {"absent": LARGE})
    await server.post(f"{RUNS}/SubmitRun", b"{" + LARGE.encode(), Content_Type="application/json")


async def failed_stream(server: WebServer) -> None:
    await server.stream(f"{RUNS}/GetRun", {"runId": MISSING_RUN})
    await server.stream(f"{RUNS}/GetRun", {"absent": LARGE})
    await server.post(f"{RUNS}/GetRun", b"\0\0\0\0\x09{}", **STREAM)
    await server.post(f"{RUNS}/GetRun", base64.b64encode(framed({"runId": LARGE})), **TEXT)


async def expired(server: WebServer) -> None:
    await server.stream("grpc.health.v1.Health/Watch", {}, Connect_Timeout_Ms="20")


async def left(server: WebServer) -> None:
    run = await server.submit("1")
    body = framed({"runId": run["runId"], "wait": True})
    async with server.session.post(server.url(f"{RUNS}/GetRun"), data=body, headers=STREAM) as response:
        await response.content.readexactly(5)
        response.close()
    while server.grpc.calls.number:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.mark.parametrize("play", [answered, refused, failed_stream, expired, left])
async def test_a_call_leaves_no_cycle(play: Play) -> None:
    async with web_server(HttpLimits(body=1 << 20)) as server:
        await play(server)  # What is made once is there from now on.
        with uncollected():
            await play(server)
            await asyncio.sleep(0)
            assert left_behind() == set()
