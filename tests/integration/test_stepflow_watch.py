"""Watching runs of the released Stepflow engines, which go on when the test says so."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.errors import RunNotFound, Unavailable
from gateway.core.model import ItemStatistics, RunState
from gateway.core.runtime import Snapshot
from gateway.runtimes.stepflow.engine import EngineRequest, EngineRestClient
from gateway.runtimes.stepflow.progress import TERMINAL
from gateway.runtimes.stepflow.release import Release, release_of
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.watch import Watches
from tests.support.engine import RELEASES
from tests.support.engine import Engine as EngineProcess
from tests.support.held_tasks import ARGUMENTS, COMPONENT, PULLING, HeldTasks, engine_with_held_tasks

pytestmark = pytest.mark.slow

LIMIT = 60.0
"""Seconds after which what should come counts as never coming."""

ONE_STEP = {
    "steps": [{"id": "only", "component": COMPONENT, "input": {"$input": "$"}}],
    "output": {"$step": "only"},
}

TWO_STEPS = {
    "steps": [
        {"id": "first", "component": COMPONENT, "input": {"$input": "$"}},
        {"id": "second", "component": COMPONENT, "input": {"$step": "first"}},
    ],
    "output": {"$step": "second"},
}

Wanted = Callable[[ItemStatistics], bool]


class Bench:
    """An engine, its tasks, and watches of its runs."""

    def __init__(self, process: EngineProcess, tasks: HeldTasks, engine: EngineRestClient, release: Release) -> None:
        self.process = process
        self.tasks = tasks
        self.engine = engine
        self.watches = Watches(engine, Runs(engine, release).read, has_streams=release.has_events)

    async def call(self, path: str, body: Any) -> Any:
        """A request that changes something."""
        answer = await self.engine.request(
            EngineRequest("POST", path, 30.0, repeatable=False, body=json.dumps(body).encode())
        )
        assert answer.status < 300, answer
        return json.loads(answer.body)

    async def submit(self, flow: Any, *inputs: Any, **options: Any) -> str:
        """Submit a run; its id."""
        flow_id = (await self.call("/flows", {"flow": flow}))["flowId"]
        run = await self.call("/runs", {"flowId": flow_id, "input": inputs, **options})
        return str(run.get("summary", run)["runId"])

    async def collect(self, run_id: str, begun: asyncio.Event | None = None) -> list[Snapshot]:
        """All that a watch yields; `begun` is set when it has yielded something."""
        snapshots = []
        async with asyncio.timeout(LIMIT), aclosing(self.watches.watch(run_id)) as changes:
            async for snapshot in changes:
                snapshots.append(snapshot)
                if begun is not None:
                    begun.set()
        return snapshots


@asynccontextmanager
async def bench(release: str, folder: Path) -> AsyncIterator[Bench]:
    async with engine_with_held_tasks(release, folder) as (process, tasks):
        engine = EngineRestClient(process.url)
        try:
            yield Bench(process, tasks, engine, await release_of(engine))
        finally:
            await engine.close()


async def until(changes: AsyncGenerator[Snapshot, None], wanted: Wanted) -> Snapshot:
    """The first state with such items."""
    async with asyncio.timeout(LIMIT):
        async for snapshot in changes:
            if wanted(snapshot.status.items):
                return snapshot
    raise AssertionError("the run has ended before")


def state(snapshot: Snapshot) -> tuple[RunState, int, int, int, int]:
    items = snapshot.status.items
    return snapshot.status.status, items.pending, items.running, items.success, items.failed


@pytest.mark.parametrize("release", PULLING)
async def test_items_are_followed_by_their_steps(release: str, tmp_path: Path) -> None:
    async with bench(release, tmp_path) as it:
        run_id = await it.submit(ONE_STEP, {"n": 0}, {"n": 1}, {"n": 2}, maxConcurrency=1)
        async with aclosing(it.watches.watch(run_id)) as changes:
            assert (await anext(changes)).revision == 0
            await it.tasks.waiting(1)
            started = await until(changes, lambda items: items.pending == 2)
            assert state(started) == (RunState.RUNNING, 2, 1, 0, 0)

            await it.tasks.end()
            await it.tasks.waiting(1)
            succeeded = await until(changes, lambda items: items.success == 1 and items.running == 1)
            assert state(succeeded) == (RunState.RUNNING, 1, 1, 1, 0)
            assert (succeeded.completions, succeeded.prefix) == (0, 0)

            await it.tasks.end(success=False)
            await it.tasks.waiting(1)
            failed = await until(changes, lambda items: items.failed == 1 and items.running == 1)
            assert started.revision < succeeded.revision < failed.revision < TERMINAL

            # Another gateway, which begins to follow later, comes to the same revision.
            async with aclosing(it.watches.watch(run_id)) as others:
                assert await until(others, lambda items: items.failed == 1 and items.running == 1) == failed

            await it.tasks.end()
            async with asyncio.timeout(LIMIT):
                last = [snapshot async for snapshot in changes][-1]
        assert state(last) == (RunState.FAILED, 0, 0, 2, 1)
        assert (last.completions, last.prefix, last.revision) == (3, 3, TERMINAL + 3)


def forget(folder: Path) -> None:
    """Take the state of an engine away."""
    for file in folder.glob("engine.db*"):
        file.unlink()


async def keep_ending(tasks: HeldTasks) -> None:
    while True:
        await tasks.waiting(1)
        await tasks.end()


def without_end(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, status=replace(snapshot.status, completed_at=None))


@pytest.mark.parametrize("release", RELEASES)
async def test_the_end_and_a_cancellation_are_told(release: str, tmp_path: Path) -> None:
    async with bench(release, tmp_path) as it:
        run_id, cancelled = [await it.submit(TWO_STEPS, {"n": n}) for n in range(2)]
        begun = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(it.collect(run_id))
            cancelling = group.create_task(it.collect(cancelled, begun))
            await it.tasks.waiting(2)
            await begun.wait()
            await it.call(f"/runs/{cancelled}/cancel", {})
            await it.tasks.end({"n": 0})
            await it.tasks.waiting(2)
            await it.tasks.end({"n": 0})
        ended = ending.result()
        assert ended[0].revision == 0
        assert state(ended[-1]) == (RunState.SUCCESS, 0, 0, 1, 0)
        assert cancelling.result()[-1].status.status is RunState.CANCELLED
        for snapshots in (ended, cancelling.result()):
            revisions = [snapshot.revision for snapshot in snapshots]
            assert revisions == sorted(set(revisions))
            assert [snapshot.terminal for snapshot in snapshots[:-1]].count(True) == 0
        # A run that is over. The engine may then tell of another second as its end.
        (over,) = await it.collect(run_id)
        assert without_end(over) == without_end(ended[-1])


@pytest.mark.parametrize("release", RELEASES)
async def test_watches_survive_that_the_engine_is_killed(release: str, tmp_path: Path) -> None:
    async with bench(release, tmp_path) as it:
        runs = [await it.submit(TWO_STEPS, {"n": n}, {"n": n + 100}) for n in range(10)]
        begun = [asyncio.Event() for _ in range(50)]
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(it.collect(runs[n % 10], begun[n])) for n in range(50)]
            await it.tasks.waiting(20)
            await it.tasks.end(*[{"n": n} for n in range(100)])
            await asyncio.gather(*[event.wait() for event in begun])
            await it.process.kill()
            it.tasks.open.clear()
            await it.process.start(*ARGUMENTS)
            ending = group.create_task(keep_ending(it.tasks))
            await asyncio.wait(watching)
            ending.cancel()
        for watch in watching:
            revisions = [snapshot.revision for snapshot in watch.result()]
            assert revisions == sorted(set(revisions))
            assert state(watch.result()[-1]) == (RunState.SUCCESS, 0, 0, 2, 0)


@pytest.mark.parametrize("release", RELEASES)
async def test_an_engine_that_stays_away_and_one_that_has_forgotten(release: str, tmp_path: Path) -> None:
    async with bench(release, tmp_path) as it:
        run_id = await it.submit(TWO_STEPS, {"n": 0})
        it.watches.patience = 0.2
        async with aclosing(it.watches.watch(run_id)) as changes:
            await anext(changes)
            await it.process.kill()
            with pytest.raises(Unavailable):
                await until(changes, lambda items: False)
        with pytest.raises(Unavailable):
            await it.collect(run_id)
        forget(tmp_path)
        await it.process.start(*ARGUMENTS)
        it.watches.patience = LIMIT
        with pytest.raises(RunNotFound):
            await it.collect(run_id)


@pytest.mark.parametrize("release", [RELEASES[0], RELEASES[-1]])
async def test_draining_ends_watches(release: str, tmp_path: Path) -> None:
    async with bench(release, tmp_path) as it:
        run_id = await it.submit(TWO_STEPS, {"n": 0})
        async with aclosing(it.watches.watch(run_id)) as changes:
            await anext(changes)
            waiting: Awaitable[Snapshot] = asyncio.ensure_future(until(changes, lambda items: False))
            await asyncio.sleep(0)
            it.watches.drain()
            with pytest.raises(Unavailable, match="shutting down"):
                await waiting
        with pytest.raises(Unavailable, match="shutting down"):
            await it.collect(run_id)


@pytest.mark.parametrize("release", PULLING)
async def test_sub_runs_and_attempts_do_not_count(release: str, tmp_path: Path) -> None:
    flow = {
        "steps": [
            {"id": "tried", "component": COMPONENT, "input": {"$input": "n"}, "onError": {"action": "retry"}},
            {
                "id": "mapped",
                "component": "/builtin/map",
                "input": {"workflow": {"$literal": TWO_STEPS}, "items": [{"n": 1}, {"n": 2}]},
            },
        ],
        "output": [{"$step": "tried"}, {"$step": "mapped"}],
    }
    async with bench(release, tmp_path) as it:
        run_id = await it.submit(flow, {"n": 0})
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(it.collect(run_id))
            await it.tasks.waiting(3)
            await it.tasks.end(0, success=False)
            ending = group.create_task(keep_ending(it.tasks))
            snapshots = await watching
            ending.cancel()
        running, finished = (RunState.RUNNING, 0, 1, 0, 0), (RunState.RUNNING, 0, 0, 1, 0)
        states = [state(snapshot) for snapshot in snapshots if not snapshot.terminal]
        # The engine tells of the end of the item, and then of the end of the run.
        ended = states.count(finished)
        assert len(states) > ended
        assert states == [running] * (len(states) - ended) + [finished] * ended
        assert state(snapshots[-1]) == (RunState.SUCCESS, 0, 0, 1, 0)
