"""Proxies that shorten deadlines: the gateway then ends streams in order, long before the time of the client."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import AsyncRunsClient, RunEnded, RunsClient, RunUpdate, RunWatch
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from gateway.testing import InMemoryGateway, in_memory_gateway
from tests.support.command_line import CommandLine, finish
from tests.support.deadline_proxy import DeadlineProxy

FLOW = {"steps": [{"id": "s", "component": "/gate/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
SECONDS = 0.3
"""More than the time that the gateway keeps for its answer."""
STREAMS = 5
"""The run ends after so many streams."""
PATIENCE = 60.0


@pytest.fixture
async def proxy() -> AsyncIterator[DeadlineProxy]:
    """A proxy before a gateway whose component answers when `STREAMS` streams have been opened."""
    proxies: list[DeadlineProxy] = []

    async def echo(value: Any) -> Any:
        await proxies[0].enough.wait()
        return value

    async with in_memory_gateway(components={"/gate/echo": echo}) as gateway:
        proxies.append(DeadlineProxy(gateway.address, SECONDS, STREAMS))
        async with proxies[0].running() as proxy:
            yield proxy


async def submitted(proxy: DeadlineProxy) -> str:
    async with AsyncRunsClient(proxy.address) as client:
        return (await client.submit(await client.put_flow(FLOW), [7])).run_id


async def test_clients_go_on_until_their_own_time(proxy: DeadlineProxy) -> None:
    run_id = await submitted(proxy)
    async with AsyncRunsClient(proxy.address) as client:
        waiting = asyncio.create_task(client.wait(run_id, include_results=True, timeout=PATIENCE))
        updates = [update async for update in client.watch(run_id, include_results=True, timeout=PATIENCE)]
        results = [result.value async for result in client.results(run_id, timeout=PATIENCE)]
        watches = client.watch_many([RunWatch(run_id, include_results=True)], timeout=PATIENCE)
        events = [event async for _, event in watches]
        status = await waiting
    assert [result.value for result in status.results or []] == results == [7]
    assert [result.value for update in updates for result in update.results] == [7]
    assert any(update.reconnected for update in updates)
    assert [result.value for event in events if isinstance(event, RunUpdate) for result in event.results] == [7]


def wait(address: str, run_id: str) -> list[Any]:
    with RunsClient(address) as client:
        assert client.wait(run_id, timeout=PATIENCE).finished
        return [result.value for result in client.results(run_id, timeout=PATIENCE)]


async def test_the_blocking_client_goes_on(proxy: DeadlineProxy) -> None:
    assert await asyncio.to_thread(wait, proxy.address, await submitted(proxy)) == [7]


async def test_many_runs_go_on(proxy: DeadlineProxy) -> None:
    run_id = await submitted(proxy)
    async with AsyncRunsClient(proxy.address) as client:
        async for _, event in client.watch_many([run_id], timeout=PATIENCE):
            if isinstance(event, RunUpdate) and event.reconnected:
                proxy.enough.set()
    assert event == RunEnded()


async def test_the_command_line_goes_on(proxy: DeadlineProxy, tmp_path: Path) -> None:
    run_id = await submitted(proxy)
    command = CommandLine(tmp_path)
    options = ("--wait", "--timeout", str(PATIENCE), "--results", "--json", "--address", proxy.address)
    got = await finish(await command.start("get", run_id, *options))
    assert got.code == 0, got
    assert json.loads(got.out)["status"] == "success"
    assert proxy.streams >= STREAMS


async def test_the_own_time_of_a_client_is_its_end(gateway_that_waits: InMemoryGateway) -> None:
    async with DeadlineProxy(gateway_that_waits.address, SECONDS).running() as proxy:
        run_id = await submitted(proxy)
        async with AsyncRunsClient(proxy.address) as client:
            status = await client.wait(run_id, timeout=3 * SECONDS)
    assert not status.finished
    assert proxy.streams > 1


@pytest.fixture
async def gateway_that_waits() -> AsyncIterator[InMemoryGateway]:
    async def echo(value: Any) -> Any:
        await asyncio.Event().wait()
        return value

    async with in_memory_gateway(components={"/gate/echo": echo}) as gateway:
        yield gateway


async def test_a_relay_goes_on_and_reports_no_outage(proxy: DeadlineProxy, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"runtime": f"grpc://{proxy.address}", "state": ":memory:"}
    addresses = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    async with running(ServeSettings.model_validate({**settings, **addresses})) as relay:
        run_id = await submitted(proxy)
        async with AsyncRunsClient(relay.grpc) as client:
            status = await client.wait(run_id, include_results=True)
    assert [result.value for result in status.results or []] == [7]
    assert proxy.streams >= STREAMS
    assert not [record for record in caplog.records if "cannot be reached" in record.message]
