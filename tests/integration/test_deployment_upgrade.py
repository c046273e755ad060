"""An earlier version of the gateway is replaced by this one while clients follow runs: no result is lost or doubled."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Final

import pytest

from gateway.client import AsyncRunsClient, ResultOrder, RunUpdate
from gateway.server.listening import Addresses
from tests.support import earlier_version
from tests.support.command_line import CommandLine, Serving, finish
from tests.support.engine import RELEASES
from tests.support.free_port import free_port
from tests.support.held_component import HELD, HeldComponent
from tests.support.held_tasks import COMPONENT, HeldTasks, engine_with_held_tasks
from tests.support.proxies import proxied

ITEMS: Final = 6
FOLLOWERS: Final = 8
DRAIN: Final = ("--drain-delay", "2")
"""The proxy looks after the gateways twice a second."""

AT_THE_ENGINE: Final = {
    "steps": [{"id": "s", "component": COMPONENT, "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}


def places() -> Addresses:
    """Addresses that several gateways take one after the other."""
    return Addresses(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


class Versions:
    """The earlier version and the present one, as commands."""

    def __init__(self, folder: Path) -> None:
        self.earlier = CommandLine(folder, earlier_version.launcher(), program=())
        self.present = CommandLine(folder)


class Follower:
    """A client that follows the results of a run, from its begin to its end."""

    def __init__(self, client: AsyncRunsClient, run_id: str, order: ResultOrder) -> None:
        self.indexes: list[int] = []
        self.restarts = 0
        self.reconnects = 0
        self.states: list[tuple[int, int]] = []
        """The revisions, and how many items had ended well by then."""
        self._changed = asyncio.Condition()
        self._updates = client.watch(run_id, include_results=True, order=order)
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        try:
            async with aclosing(self._updates) as updates:
                async for update in updates:
                    await self._note(update)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _note(self, update: RunUpdate) -> None:
        async with self._changed:
            self.restarts += update.restarted
            self.reconnects += update.reconnected
            self.states.append((update.revision, update.run.items.success))
            self.indexes += [result.item_index for result in update.results]
            self._changed.notify_all()

    async def has(self, number: int) -> None:
        """Wait until so many results have come. Raises the error of the client if it has failed."""
        await self._until(lambda: len(self.indexes) >= number)

    async def sees(self, number: int) -> None:
        """Wait until so many items have ended well, whose results may come later. Raises as `has` does."""
        await self._until(lambda: bool(self.states) and self.states[-1][1] >= number)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: holds() or self.task.done())
        if self.task.done():
            await self.task


async def stopped(serving: Serving) -> None:
    """Send SIGTERM and wait for the end of a gateway, which is in order."""
    serving.process.send_signal(signal.SIGTERM)
    assert (await finish(serving.process)).code == 0


def some_followers(client: AsyncRunsClient, run_id: str) -> list[Follower]:
    """Some of each order."""
    orders = (ResultOrder.BY_INDEX, ResultOrder.BY_COMPLETION)
    return [Follower(client, run_id, orders[number % 2]) for number in range(FOLLOWERS)]


async def followers(client: AsyncRunsClient, run_id: str) -> list[Follower]:
    """The same, all with what is known at first."""
    started = some_followers(client, run_id)
    for follower in started:
        await follower.has(2)
    return started


async def all_told(started: list[Follower]) -> None:
    """Wait for the end of all, who have each result once."""
    await asyncio.gather(*(follower.task for follower in started))
    for follower in started:
        assert sorted(follower.indexes) == list(range(ITEMS))
        assert follower.restarts == 0


async def test_a_state_is_taken_over_and_its_runs_go_on(tmp_path: Path, held: HeldComponent) -> None:
    versions, where, state = Versions(tmp_path), places(), tmp_path / "runs.db"
    options = ("--state", str(state), "--component", f"/test={held.server.url}")
    async with asyncio.timeout(110), AsyncExitStack() as stack:
        earlier = versions.earlier.serving(*options, grpc=where.grpc, http=where.http)
        first = await stack.enter_async_context(earlier)
        client = await stack.enter_async_context(AsyncRunsClient(where.grpc))
        flow = await client.put_flow(HELD)
        run = await client.submit(flow, range(ITEMS), idempotency_key="nightly")
        held.release(0, 1)
        started = await followers(client, run.run_id)
        await stopped(first)
        assert schema_of(state) == earlier_version.SCHEMA
        await stack.enter_async_context(versions.present.serving(*options, grpc=where.grpc, http=where.http))
        assert (await client.submit(flow, range(ITEMS), idempotency_key="nightly")).run_id == run.run_id
        held.release(*range(ITEMS))
        await all_told(started)
    assert schema_of(state) > earlier_version.SCHEMA


async def test_gateways_are_replaced_side_by_side_behind_a_proxy(tmp_path: Path, held: HeldComponent) -> None:
    versions, old, new, keeper = Versions(tmp_path), places(), places(), places()
    options = ("--state", f"{tmp_path}/runs.db", "--component", f"/test={held.server.url}")
    relay = ("--runtime", f"grpc://{keeper.grpc}", *DRAIN)
    async with asyncio.timeout(110), AsyncExitStack() as stack:
        first = await stack.enter_async_context(versions.earlier.serving(*options, grpc=keeper.grpc, http=keeper.http))
        before = await stack.enter_async_context(versions.earlier.serving(*relay, grpc=old.grpc, http=old.http))
        proxy = await stack.enter_async_context(proxied("haproxy", tmp_path, (old, new)))
        client = await stack.enter_async_context(AsyncRunsClient(proxy.plain))
        run = await client.submit(await client.put_flow(HELD), range(ITEMS), idempotency_key="nightly")
        held.release(0, 1)
        started = await followers(client, run.run_id)
        # The new gateway is there; the old one sends its clients away.
        await stack.enter_async_context(versions.present.serving(*relay, grpc=new.grpc, http=new.http))
        await stopped(before)
        held.release(2, 3)
        for follower in started:
            await follower.has(4)
        # What has the state comes last: the gateways before it wait.
        await stopped(first)
        await stack.enter_async_context(versions.present.serving(*options, grpc=keeper.grpc, http=keeper.http))
        held.release(*range(ITEMS))
        await all_told(started)


@pytest.mark.slow
async def test_gateways_over_one_stepflow_engine_are_replaced_and_put_back_side_by_side(tmp_path: Path) -> None:
    versions, old, new = Versions(tmp_path), places(), places()
    async with asyncio.timeout(170), AsyncExitStack() as stack:
        engine, tasks = await stack.enter_async_context(engine_with_held_tasks(RELEASES[0], tmp_path))
        options = ("--runtime", engine.runtime, *DRAIN, "--state")

        async def serving(version: CommandLine, where: Addresses, state: str) -> Serving:
            gateway = version.serving(*options, f"{tmp_path}/{state}.db", grpc=where.grpc, http=where.http)
            return await stack.enter_async_context(gateway)

        earlier = await serving(versions.earlier, old, "earlier")
        proxy = await stack.enter_async_context(proxied("haproxy", tmp_path, (old, new)))
        client = await stack.enter_async_context(AsyncRunsClient(proxy.plain))
        run = await client.submit(await client.put_flow(AT_THE_ENGINE), range(ITEMS))
        started = some_followers(client, run.run_id)
        await tasks.waiting(ITEMS)
        await ended(tasks, started, 0, 1)
        present = await serving(versions.present, new, "present")
        await stopped(earlier)
        await ended(tasks, started, 2, 3)
        # Back again, as when the new version does not do: the earlier one goes on with tokens of the new one.
        await serving(versions.earlier, old, "earlier")
        await stopped(present)
        await ended(tasks, started, 4)
        await tasks.end()
        await all_told(started)
    for follower in started:
        assert follower.reconnects >= 2
        assert follower.states == sorted(follower.states)


async def ended(tasks: HeldTasks, started: list[Follower], *items: int) -> None:
    """End these items at the engine, which is seen by all before others follow. Their results are told at the end."""
    await tasks.end(*items)
    for follower in started:
        await follower.sees(max(items) + 1)


def schema_of(state: Path) -> int:
    with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
