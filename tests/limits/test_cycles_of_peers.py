"""Calls that fail at another server, or at the gateway when a client of ours makes them, leave no cycle."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import AsyncRunsClient, RunsClient
from gateway.core.errors import GatewayError
from gateway.fronts.grpc.server import Transport
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.runtimes.relay.runtime import RelayRuntime
from gateway.storage.idempotency import Keys
from tests.support.cycles import JSON, LARGE, STREAM, TEXT, Gateway, Start, embedded, leaves_nothing
from tests.support.followers import followed
from tests.support.garbage import PAYLOAD
from tests.support.http_upstream import HttpUpstream
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime
from tests.support.upstream import Upstream

Peer = Upstream | HttpUpstream


def over(kind: str, path: Path) -> Start:
    """A gateway over another one, whose runtime a test controls; `gateway.peer` is that other one."""

    @asynccontextmanager
    async def start(transport: Transport) -> AsyncIterator[Gateway]:
        peer: Peer = (
            Upstream(ScriptedRuntime(), path / "upstream") if kind == "relay" else HttpUpstream(ScriptedRuntime())
        )
        first = peer.service
        await peer.start()
        keys = await Keys.open(":memory:")
        runtime = (
            RelayRuntime(peer.address, patience=0.0)
            if isinstance(peer, Upstream)
            else JsonRpcRuntime(peer.url, keys, patience=0.0)
        )
        await runtime.connect(10.0)
        gateway = Gateway(runtime, transport)
        gateway.peer = peer
        gateway.kept = [first, peer.service, peer._front]
        async with gateway.serving():
            yield gateway
        await runtime.close()
        await keys.close()
        await peer.stop()

    return start


def call(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": LARGE, "method": method, "params": params}


async def refusals(gateway: Gateway) -> None:
    flow_id = await gateway.service.put_blob(FLOW)
    for body in (
        call("runs/submit", flowId=MISSING_BLOB, inputs=[LARGE]),
        call("runs/get", runId=MISSING_RUN, unknown=LARGE),
        call("runs/get", runId=MISSING_RUN, wait=True, includeResults=True, unknown=LARGE),
        call("blobs/get", blobId=MISSING_BLOB, unknown=LARGE),
    ):
        for headers in (JSON, STREAM):
            assert b'"error"' in (await gateway.post(body, headers=headers))[1]
    answers = [
        (await gateway.post(call("runs/submit", flowId=flow_id, inputs=[text], subflowKey="k")))[1]
        for text in ("", LARGE)
    ]
    assert [b'"error"' in answer for answer in answers] == [False, True]


async def outage(gateway: Gateway) -> None:
    """The other server goes away while calls wait for a run, and stays away."""
    run_id = await gateway.submitted()
    waiting = [
        asyncio.create_task(gateway.post(call("runs/get", runId=run_id, wait=True, unknown=LARGE), headers=headers))
        for headers in (JSON, STREAM)
    ]
    await followed(gateway.service, 2)
    assert isinstance(gateway.peer, Peer)
    await gateway.peer.stop()
    for _, answer in await asyncio.gather(*waiting):
        assert b'"error"' in answer
    for body in (
        call("runs/submit", flowId=MISSING_BLOB, inputs=[LARGE]),
        call("blobs/put", blobType="data", data=LARGE),
    ):
        assert b'"error"' in (await gateway.post(body))[1]


async def shutdown(gateway: Gateway) -> None:
    run_id = await gateway.submitted()
    get = call("runs/get", runId=run_id, wait=True, unknown=LARGE)
    waiting = [asyncio.create_task(gateway.post(get, headers=headers)) for headers in (JSON, STREAM)]
    await followed(gateway.service, 2)
    await gateway.runtime.drain()
    for _, answer in await asyncio.gather(*waiting):
        assert b'"error"' in answer


@pytest.mark.parametrize("case", [refusals, outage, shutdown])
@pytest.mark.parametrize("kind", ["relay", "jsonrpc"])
async def test_a_call_that_fails_elsewhere(
    kind: str, case: Callable[[Gateway], Awaitable[None]], tmp_path: Path
) -> None:
    await leaves_nothing(case, over(kind, tmp_path))


async def raised(action: Awaitable[Any]) -> type[Exception] | None:
    """The class of the error that a call raises."""
    try:
        await action
    except (GatewayError, TimeoutError) as error:
        return type(error)
    return None


async def through_the_asynchronous_client(gateway: Gateway) -> None:
    async with AsyncRunsClient(gateway.grpc.address, retry_for=0) as client:
        for action in (
            client.submit(MISSING_BLOB, [LARGE]),
            client.submit_stream(MISSING_BLOB, [LARGE]),
            client.submit(LARGE, [1]),
            client.put_flow({"steps": LARGE}),
            client.get(MISSING_RUN),
            client.wait(MISSING_RUN, include_results=True),
            client.submit(MISSING_BLOB, [LARGE], timeout=0.000_001),
        ):
            assert await raised(action) is not None
    async with AsyncRunsClient("127.0.0.1:1", retry_for=0) as client:
        assert await raised(client.submit(MISSING_BLOB, [LARGE])) is not None


async def through_the_blocking_client(gateway: Gateway) -> None:
    def calls() -> None:
        with RunsClient(gateway.grpc.address, retry_for=0) as client:
            for action in (
                lambda: client.submit(MISSING_BLOB, [LARGE]),
                lambda: client.submit_stream(MISSING_BLOB, [LARGE]),
                lambda: client.put_flow({"steps": LARGE}),
                lambda: client.get(MISSING_RUN),
                lambda: client.submit(MISSING_BLOB, [LARGE], timeout=0.000_001),
            ):
                try:
                    action()
                except (GatewayError, TimeoutError):
                    continue
                raise AssertionError("the call has not failed")

    await asyncio.to_thread(calls)


@pytest.mark.parametrize("case", [through_the_asynchronous_client, through_the_blocking_client])
async def test_a_call_of_a_client_of_ours_that_fails(case: Callable[[Gateway], Awaitable[None]]) -> None:
    assert len(TEXT) > PAYLOAD
    assert json.loads(TEXT) == LARGE
    await leaves_nothing(case, embedded())
