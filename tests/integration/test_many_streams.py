"""Servers and proxies that allow 100 open calls on a connection: more streams start, and no call waits behind them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest

from gateway.client import AsyncRunsClient, RunsClient
from gateway.client.status import RunUpdate
from gateway.core.model import SubmitParams
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runtimes.relay.runtime import RelayRuntime
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

ALLOWED = 100
WATCHES = 250
SECONDS = 60.0
"""Nothing below takes nearly as long; what waits for a place waits forever."""


@pytest.fixture
def scripted() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def address(scripted: ScriptedRuntime) -> AsyncIterator[str]:
    """A gateway with so many calls on each connection."""
    service = RunsService(scripted, grace=0)
    front = GrpcFront(RunsServices(service), "127.0.0.1:0", limits=GrpcLimits(streams=ALLOWED))
    await front.start()
    yield front.address
    await front.stop(0)
    await service.close()


async def test_watches_of_the_client_start_beside_each_other(scripted: ScriptedRuntime, address: str) -> None:
    async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
        client = await stack.enter_async_context(AsyncRunsClient(address))
        flow_id = await client.put_flow(str(FLOW.content))
        run_id = (await client.submit(flow_id, [1])).run_id
        watches = [await stack.enter_async_context(aclosing(client.watch(run_id))) for _ in range(WATCHES)]
        first = await asyncio.gather(*(anext(watch) for watch in watches))
        assert len(first) == WATCHES
        assert (await client.submit(flow_id, [1])).run_id in scripted.run_ids
        assert not (await client.get(run_id)).finished
        await scripted.succeed(0, "1", run_id=run_id)
        last = await asyncio.gather(*(anext(watch) for watch in watches))
        assert all(update.run.finished for update in last)


def watch_all(address: str, flow_id: str, run_id: str) -> list[RunUpdate]:
    with RunsClient(address) as client:
        watches = [client.watch(run_id, heartbeat_interval=SECONDS) for _ in range(WATCHES)]
        updates = [next(watch) for watch in watches]
        client.submit(flow_id, [1], timeout=SECONDS)
        for watch in watches:
            watch.close()
        return updates


async def test_watches_of_the_blocking_client_start_beside_each_other(scripted: ScriptedRuntime, address: str) -> None:
    async with AsyncRunsClient(address) as client:
        flow_id = await client.put_flow(str(FLOW.content))
        run_id = (await client.submit(flow_id, [1])).run_id
    async with asyncio.timeout(SECONDS):
        assert len(await asyncio.to_thread(watch_all, address, flow_id, run_id)) == WATCHES


async def test_watches_of_a_relay_start_beside_each_other(scripted: ScriptedRuntime, address: str) -> None:
    relay = RelayRuntime(f"grpc://{address}")
    async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
        stack.push_async_callback(relay.close)
        params = SubmitParams(flow_id=await relay.put_blob(FLOW), inputs=["1"])
        run_ids = [(await relay.submit(params, "")).status.run_id for _ in range(WATCHES)]
        watches = [await stack.enter_async_context(aclosing(relay.watch(run_id))) for run_id in run_ids]
        first = await asyncio.gather(*(anext(watch) for watch in watches))
        assert [snapshot.status.run_id for snapshot in first] == run_ids
        assert (await relay.submit(params, "")).status.run_id in scripted.run_ids
