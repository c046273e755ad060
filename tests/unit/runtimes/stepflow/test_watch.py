"""Watching a run whose state and events are what the test says; the event streams are real."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from gateway.core.errors import RemoteError, RunNotFound, Unavailable
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.core.runtime import Snapshot
from gateway.runtimes.stepflow import events, outage
from gateway.runtimes.stepflow import watch as module
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.progress import TERMINAL
from gateway.runtimes.stepflow.watch import Watches
from tests.support.tasks import LIMIT, all_ended

RUN = "01a2047c-35bd-7f91-a677-23bcb13714dd"
RUNNING = RunStatus(
    run_id=RUN, flow_id="f", status=RunState.RUNNING, items=ItemStatistics(total=2, running=2), created_at=0
)
OVER = replace(RUNNING, status=RunState.SUCCESS, items=ItemStatistics(total=2, success=2))

Answer = RunStatus | Exception


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for long."""
    names = {
        module: ("FIRST_POLL", "LAST_POLL", "_CONFIRM_FIRST", "_CONFIRM_LAST"),
        events: ("STREAM_AFTER", "REOPEN_SECONDS"),
        outage: ("FIRST_DELAY", "LAST_DELAY"),
    }
    for patched, constants in names.items():
        for name in constants:
            monkeypatch.setattr(patched, name, 0.001)


class States:
    """Gives the answers in order, the last one again and again; but holds it back as long as `held` is not set."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.held = asyncio.Event()
        self.held.set()
        self.asking = asyncio.Event()

    async def read(self, run_id: str, seconds: int) -> RunStatus:
        assert run_id == RUN
        self.asked.append(seconds)
        if seconds:
            self.asking.set()
            await asyncio.sleep(0.001)  # as every answer from an engine takes its time
            await self.held.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def watches_of(states: States, *, patience: float = LIMIT, url: str = "") -> AsyncIterator[Watches]:
    engine = EngineRestClient(url or "http://127.0.0.1:1")
    try:
        yield Watches(engine, states.read, has_streams=bool(url), patience=patience)
    finally:
        await engine.close()
    await all_ended()


async def collect(watches: Watches) -> list[Snapshot]:
    async with asyncio.timeout(LIMIT), aclosing(watches.watch(RUN)) as changes:
        return [snapshot async for snapshot in changes]


async def test_a_run_that_is_over_is_asked_for_once() -> None:
    states = States(OVER)
    async with watches_of(states) as watches:
        assert await collect(watches) == [Snapshot(OVER, TERMINAL + 2, 2, 2)]
    assert states.asked == [0]


async def test_the_end_is_waited_for() -> None:
    states = States(RUNNING, OVER)
    async with watches_of(states) as watches:
        assert [snapshot.status for snapshot in await collect(watches)] == [RUNNING, OVER]
    assert states.asked == [0, module.FIRST_WAIT]


async def test_an_engine_that_does_not_wait_is_asked_again() -> None:
    states = States(*[RUNNING] * 5, OVER)
    async with watches_of(states) as watches:
        assert [snapshot.status for snapshot in await collect(watches)] == [RUNNING, OVER]
    assert states.asked == [0, *[module.FIRST_WAIT] * 5]


async def test_an_engine_that_waits_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    states = States(*[RUNNING] * 7, OVER)
    now = 0.0
    read = states.read

    async def waits(run_id: str, seconds: int) -> RunStatus:
        nonlocal now
        now += seconds
        return await read(run_id, seconds)

    monkeypatch.setattr(states, "read", waits)
    async with watches_of(states) as watches:
        monkeypatch.setattr(module, "_now", lambda: now)
        assert len(await collect(watches)) == 2
    assert states.asked == [0, 1, 2, 4, 8, 16, 16, 16]


async def test_without_a_connection_to_wait_on_a_run_is_looked_at() -> None:
    states = States(*[RUNNING] * 3, OVER)
    async with watches_of(states) as watches:
        watches.waits = asyncio.Semaphore(0)
        assert len(await collect(watches)) == 2
    assert states.asked == [0] * 4


async def test_with_many_watches_each_looks_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watches_of(States(RUNNING)) as watches:
        assert watches.poll_seconds() == module.LAST_POLL
        monkeypatch.setattr(watches, "_count", 1000)
        assert watches.poll_seconds() == 1000 / module.POLLS_PER_SECOND


@pytest.mark.parametrize("failure", [Unavailable("away"), RemoteError(-32603, "rubbish")])
async def test_an_engine_that_is_away_for_a_while(failure: Exception) -> None:
    states = States(failure, RUNNING, failure, failure, OVER)
    async with watches_of(states) as watches:
        assert [snapshot.status for snapshot in await collect(watches)] == [RUNNING, OVER]


@pytest.mark.parametrize("answers", [[Unavailable("away")], [RUNNING, Unavailable("away")]])
async def test_an_engine_that_stays_away(answers: Sequence[Answer]) -> None:
    async with watches_of(States(*answers), patience=0.01) as watches:
        with pytest.raises(Unavailable, match="away"):
            await collect(watches)


async def test_a_run_that_is_not_there() -> None:
    async with watches_of(States(RUNNING, RunNotFound("forgotten"))) as watches:
        with pytest.raises(RunNotFound, match="forgotten"):
            await collect(watches)


async def test_draining_ends_a_watch() -> None:
    states = States(RUNNING)
    states.held.clear()
    async with watches_of(states) as watches:
        watching = asyncio.create_task(collect(watches))
        await states.asking.wait()
        watches.drain()
        with pytest.raises(Unavailable, match="shutting down"):
            await watching
        with pytest.raises(Unavailable, match="shutting down"):
            await collect(watches)


async def test_a_watch_that_is_closed_leaves_nothing_behind() -> None:
    states = States(RUNNING)
    states.held.clear()
    async with watches_of(states) as watches:
        async with aclosing(watches.watch(RUN)) as changes:
            await anext(changes)
            await states.asking.wait()
        assert not watches.waits.locked()
        await all_ended()


def event(position: int, kind: str, **members: Any) -> bytes:
    body = {"sequenceNumber": position, "event": {kind: {"runId": RUN, **members}}}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


STEPS = [
    event(0, "StepsNeeded", itemIndex=0, stepIds=["a"]),
    event(1, "StepStarted", itemIndex=0, stepId="a"),
    event(2, "StepCompleted", itemIndex=0, stepId="a", status=2),
]
END = event(3, "RunCompleted", status=2)


class Streams:
    """Serves event streams, each as the next of the scripts says; holds the last one open. `since`: as asked for."""

    def __init__(self, *scripts: Sequence[bytes] | int) -> None:
        self.scripts = list(scripts)
        self.since: list[str] = []
        self.asked = asyncio.Event()
        self.closing = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        assert request.path == f"/api/v1/runs/{RUN}/events"
        assert request.query["runId"] == RUN
        self.since.append(request.query["since"])
        self.asked.set()
        script = self.scripts.pop(0)
        if isinstance(script, int):
            return web.Response(status=script)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for data in script:
            await response.write(data)
        if not self.scripts:
            await self.closing.wait()
        return response

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.serve)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            self.closing.set()
            await runner.cleanup()


async def watch_with(states: States, streams: Streams, wanted: int | None = None) -> list[Snapshot]:
    """What a watch yields, up to a state with so many items that succeeded. The state is told of no more after it."""
    async with streams.running() as url:
        engine = EngineRestClient(url)
        try:
            watches = Watches(engine, states.read, has_streams=True)
            seen = []
            async with asyncio.timeout(LIMIT), aclosing(watches.watch(RUN)) as changes:
                async for snapshot in changes:
                    seen.append(snapshot)
                    if snapshot.status.items.success == wanted:
                        states.held.set()
            return seen
        finally:
            await engine.close()


async def test_steps_are_followed_and_the_end_is_the_states() -> None:
    states = States(RUNNING, OVER)
    states.held.clear()
    seen = await watch_with(states, Streams([b": keep-alive\n\n", *STEPS]), 1)
    items = [(snapshot.status.items.running, snapshot.status.items.success) for snapshot in seen]
    assert items[0] == (2, 0)
    assert items[-2:] == [(0, 1), (0, 2)]
    assert [snapshot.revision for snapshot in seen[-2:]] == [3, TERMINAL + 2]


async def test_the_events_tell_of_the_end_where_the_state_does_not() -> None:
    """A run of another orchestrator ends: the one that is asked does not notice while it waits."""
    states = States(RUNNING, RUNNING, OVER)
    states.held.clear()
    seen = await watch_with(states, Streams([*STEPS, END]))
    assert seen[-1].status == OVER
    assert set(states.asked) == {0, module.FIRST_WAIT}


async def test_a_stream_that_breaks_is_taken_up_where_it_broke() -> None:
    states = States(RUNNING, OVER)
    states.held.clear()
    streams = Streams(STEPS[:2], 500, [], STEPS[1:])
    seen = await watch_with(states, streams, 1)
    assert streams.since == ["0", "1", "1", "1"]
    assert seen[-1].status == OVER


@pytest.mark.parametrize("script", [404, [b"data: rubbish\n\n"], [b"data: " + b"x" * 5_000_000]])
async def test_without_usable_events_the_state_does(script: Sequence[bytes] | int) -> None:
    states = States(RUNNING, OVER)
    states.held.clear()
    streams = Streams(script, [])
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch_with(states, streams))
        await streams.asked.wait()
        states.held.set()
    assert [snapshot.status for snapshot in watching.result()] == [RUNNING, OVER]
    assert streams.since == ["0"]


async def test_no_more_streams_than_there_are_connections_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS", 0)
    streams = Streams([])
    assert len(await watch_with(States(RUNNING, RUNNING, OVER), streams)) == 2
    assert streams.since == []


@pytest.mark.parametrize(("revision", "found"), [(1, True), (3, True), (4, False)])
async def test_a_state_that_another_gateway_has_shown_is_found_in_the_events(
    monkeypatch: pytest.MonkeyPatch, revision: int, found: bool
) -> None:
    monkeypatch.setattr(module, "EVENTS_SECONDS", LIMIT if found else 0.1)
    states = States(RUNNING)
    states.held.clear()
    async with Streams(STEPS).running() as url:
        engine = EngineRestClient(url)
        state = await Watches(engine, states.read, has_streams=True).state_since(RUN, revision)
        await engine.close()
    assert (state is not None and state.revision >= revision) == found
