"""A relay asks an upstream at a distance for heartbeats: silent watches are told from dead ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from gateway.core.model import SubmitParams
from gateway.fronts.grpc import GrpcFront
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runtimes.relay.runtime import RelayRuntime
from tests.support.scripted_runtime import FLOW, ScriptedRuntime
from tests.support.stream_proxy import StreamProxy


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtimes.relay.runtime.HEARTBEAT_SECONDS", 0.1)


@asynccontextmanager
async def relayed(limits: list[int]) -> AsyncIterator[tuple[ScriptedRuntime, StreamProxy, RelayRuntime]]:
    """A gateway, a proxy that falls silent after so many messages of each connection, and a relay."""
    scripted = ScriptedRuntime()
    service = RunsService(scripted, grace=0)
    front = GrpcFront(RunsServices(service), "127.0.0.1:0")
    await front.start()
    async with StreamProxy(front.address, limits, silent=True).running() as proxy:
        relay = RelayRuntime(f"grpc://{proxy.address}")
        yield scripted, proxy, relay
        await relay.close()
    await front.stop(0)
    await service.close()


async def submitted(relay: RelayRuntime) -> str:
    params = SubmitParams(flow_id=await relay.put_blob(FLOW), inputs=["1"])
    return (await relay.submit(params, "")).status.run_id


async def test_a_silent_run_is_heard_of(caplog: pytest.LogCaptureFixture) -> None:
    async with relayed([]) as (scripted, proxy, relay):
        run_id = await submitted(relay)
        async with aclosing(relay.watch(run_id)) as watch:
            await anext(watch)
            following = asyncio.ensure_future(anext(watch))
            before = proxy.messages
            await proxy.until(lambda: proxy.messages >= before + 3)
            assert not following.done(), "heartbeats are no news"
            await scripted.succeed(0, "1")
            assert (await following).terminal
    assert not caplog.records


async def test_a_watch_without_heartbeats_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    async with relayed([10_000, 1]) as (scripted, proxy, relay):
        run_id = await submitted(relay)
        async with aclosing(relay.watch(run_id)) as watch:
            await anext(watch)
            following = asyncio.ensure_future(anext(watch))
            await proxy.until(lambda: proxy.cuts == 1)
            await scripted.succeed(0, "1")
            async with asyncio.timeout(60):
                assert (await following).terminal
    assert not caplog.records


def test_a_unix_socket_needs_none() -> None:
    async def interval() -> float | None:
        relay = RelayRuntime("unix:/nowhere.sock")
        try:
            return relay._heartbeat_interval()
        finally:
            await relay.close()

    assert asyncio.run(interval()) is None
