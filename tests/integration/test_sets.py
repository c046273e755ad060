"""Sets against lists: cuts, restarts and changes of the worker while runs come, end and are deleted."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.core.errors import GatewayError
from gateway.core.model import RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetEvent, SetParams
from gateway.runs.service import RunsService
from gateway.runs.set_update import ChangeUpdate, SetCaughtUp, SetHeartbeat
from gateway.runtimes.relay.runtime import RelayRuntime
from tests.support.component_server import Call, ComponentServer
from tests.support.embedded import Embedded, opened
from tests.support.upstream import Upstream

AT_ONCE = {"steps": [], "output": {"$input": "$"}}
WITH_STEP = {"steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
FILTERS = (
    RunFilter(),
    RunFilter(states=(RunState.PENDING, RunState.RUNNING)),
    RunFilter(states=(RunState.RUNNING,), labels={"k": "1"}),
    RunFilter(states=(RunState.SUCCESS, RunState.CANCELLED), flow_label="a*"),
)


class Client:
    """Keeps the picture of a set, over cuts. A state is told once: `told` has what came of each run last."""

    def __init__(self, wanted: RunFilter) -> None:
        self.wanted = wanted
        self.runs: dict[str, RunStatus] = {}
        self.token = b""
        self.told: dict[str, bytes] = {}
        self.restarts = 0

    async def follow(self, service: RunsService, most: int) -> bool:
        """Follow until the present is complete, which is returned, or until so many updates have come: it is cut."""
        follower = service.follow_set(SetParams(filter=self.wanted, resume_token=self.token))
        try:
            for _ in range(most):
                update = await follower.next()
                assert update is not None
                assert not isinstance(update, SetHeartbeat)
                if update.restarted:
                    self.restarts += 1
                    self.runs.clear()
                    self.told.clear()
                if isinstance(update, SetCaughtUp):
                    self.token = update.token
                    return True
                self._take(update)
        except GatewayError:
            pass
        finally:
            follower.close()
        return False

    def _take(self, update: ChangeUpdate) -> None:
        assert self.told.get(update.run_id, b"") < update.token, "told twice"
        self.told[update.run_id] = self.token = update.token
        if update.event is SetEvent.LEFT:
            self.runs.pop(update.run_id, None)
        else:
            assert self.runs.get(update.run_id) != update.status, "told twice"
            self.runs[update.run_id] = update.status


class Gateway(NamedTuple):
    """A gateway and two workers of it."""

    embedded: Embedded
    services: list[RunsService]

    async def listed(self, wanted: RunFilter) -> dict[str, RunStatus]:
        runs = (await self.embedded.runtime.list_runs(wanted, RunOrder.OLDEST_FIRST, "", 100_000)).runs
        return {status.run_id: status for status in runs}


@asynccontextmanager
async def running(home: Path, components: str) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:
        embedded = await stack.enter_async_context(opened(home / "state.db", components={"/test": components}))
        await embedded.start()
        upstream = Upstream(embedded.runtime, home / "socket")
        await upstream.start()
        stack.push_async_callback(upstream.stop)
        services = [embedded.service]
        for _ in range(2):
            relay = RelayRuntime(upstream.address)
            stack.push_async_callback(relay.close)
            services.append(RunsService(relay, grace=0))
            stack.push_async_callback(services[-1].close)
        yield Gateway(embedded, services)


class Load:
    """Submits, ends, cancels and deletes runs."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.held: list[asyncio.Event] = []

    async def answer(self, call: Call) -> None:
        """A component answers when it is let."""
        event = asyncio.Event()
        self.held.append(event)
        await event.wait()
        await call.result({"output": call.message["params"]["input"]})

    def release(self, number: int) -> None:
        """Let components answer."""
        for event in self.held[:number]:
            event.set()
        del self.held[:number]

    async def some(self, gateway: Gateway) -> None:
        """Something happens."""
        chance, embedded = self.chance, gateway.embedded
        for _ in range(chance.randint(0, 3)):
            label, labels = chance.choice(("a", "ab", "b", None)), {"k": chance.choice("12")}
            flow = chance.choice((AT_ONCE, WITH_STEP))
            inputs = range(chance.randint(0, 3))
            await embedded.submit(flow, *inputs, wait=False, flow_label=label, labels=labels)
        self.release(chance.randint(0, 3))
        if chance.random() < 0.3:
            runs = list((await gateway.listed(RunFilter())).values())
            for status in chance.sample(runs, min(len(runs), 2)):
                if status.status.terminal:
                    await embedded.runtime.delete(status.run_id, cancel=False)
                elif chance.random() < 0.5:
                    await embedded.runtime.cancel(status.run_id, None)

    async def settle(self, gateway: Gateway) -> None:
        """Wait until nothing changes."""
        while open_runs := await gateway.listed(RunFilter(states=(RunState.PENDING, RunState.RUNNING))):
            self.release(1_000)
            for run_id in open_runs:
                waiting = asyncio.create_task(gateway.embedded.wait(run_id))
                while not waiting.done():
                    self.release(1_000)
                    await asyncio.sleep(0.001)
                await waiting


async def cut_again_and_again(home: Path, seed: int, cuts: int) -> None:
    chance = random.Random(seed)
    load = Load(chance)
    clients = [Client(wanted) for wanted in FILTERS]
    compared = 0
    server = ComponentServer(load.answer)
    async with server.running():
        while cuts > 0:
            async with running(home, server.url) as gateway:
                for _ in range(chance.randint(10, 40)):
                    await load.some(gateway)
                    for client in clients:
                        cuts -= 1
                        await client.follow(chance.choice(gateway.services), chance.choice((1, 2, 5, 20, 1_000)))
                await load.settle(gateway)
                for client in clients:
                    while not await client.follow(chance.choice(gateway.services), 1_000_000):
                        pass
                    assert client.runs == await gateway.listed(client.wanted)
                    compared += 1
                load.held.clear()
    assert compared >= len(clients)
    assert not any(client.restarts for client in clients)


async def test_the_picture_equals_the_list_over_cuts_restarts_and_workers(tmp_path: Path) -> None:
    await cut_again_and_again(tmp_path, seed=1, cuts=150)


@pytest.mark.slow
@pytest.mark.no_cover
async def test_the_picture_equals_the_list_over_2_000_cuts(tmp_path: Path) -> None:
    await cut_again_and_again(tmp_path, seed=2, cuts=2_000)
