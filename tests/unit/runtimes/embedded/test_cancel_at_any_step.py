"""Cancelling a run at every step that it takes: whatever it does then, it ends once, as a whole, and for good."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import ResultOrder, RunState, RunStatus
from gateway.core.runtime import Page, Snapshot
from gateway.flows import step_retries
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.storage.idempotency import IN_MEMORY
from tests.support.embedded import Accepted, Embedded
from tests.support.scripted_components import ScriptedComponents

INNER: Final[dict[str, Any]] = {
    "steps": [
        {"id": "a", "component": "/test/echo", "input": {"$input": "$"}},
        {"id": "b", "component": "/test/flaky", "input": {"$step": "a"}, "onError": {"action": "retry"}},
    ],
    "output": {"$step": "b"},
}
COUNTDOWN: Final[dict[str, Any]] = {
    "steps": [{"id": "e", "component": "/test/echo", "input": {"$input": "$"}}],
    "output": {"$if": {"$step": "e", "path": "more"}, "then": {"next": {"more": None}}, "else": {"result": 1}},
}
FLOW: Final[dict[str, Any]] = {
    "steps": [
        {"id": "e", "component": "/test/echo", "input": {"$input": "$"}},
        {"id": "f", "component": "/test/flaky", "input": {"$input": "$"}, "onError": {"action": "retry"}},
        {
            "id": "m",
            "component": "/builtin/map",
            "input": {"workflow": {"$literal": INNER}, "items": [1, {"$step": "e"}], "max_concurrency": 1},
        },
        {
            "id": "i",
            "component": "/builtin/iterate",
            "input": {"flow": {"$literal": COUNTDOWN}, "initial_input": {"more": True}},
        },
    ],
    "output": [{"$step": "f"}, {"$step": "m"}, {"$step": "i"}],
}
"""Steps beside each other and after each other, retries, runs inside, and a flow that runs in place."""


@asynccontextmanager
async def stepping(state: str) -> AsyncIterator[tuple[Embedded, ScriptedComponents]]:
    components = ScriptedComponents()
    runtime = await EmbeddedRuntime.open(state, components, account=MemoryAccount())  # type: ignore[arg-type]
    service = RunsService(runtime, grace=0)
    embedded = Embedded(runtime, service, runtime._journal)
    try:
        await embedded.start()
        yield embedded, components
    finally:
        await runtime.drain()
        await service.close()
        await runtime.close()


class Watched:
    """What a watch of a run tells."""

    def __init__(self, embedded: Embedded, run_id: str) -> None:
        self.seen: list[Snapshot] = []
        self._task = asyncio.create_task(self._watch(embedded, run_id))

    async def _watch(self, embedded: Embedded, run_id: str) -> None:
        async with aclosing(embedded.runtime.watch(run_id)) as watch:
            async for snapshot in watch:
                self.seen.append(snapshot)

    async def all(self) -> list[Snapshot]:
        """All states, when the last one has come."""
        await self._task
        return self.seen


async def cancelled_after(steps: int, state: str, *inputs: int) -> tuple[RunStatus, RunState]:
    """Cancel a run after so many steps of the event loop, and check what has come of it; its state, also before."""
    async with stepping(state) as (embedded, components):
        accepted = Accepted(embedded)
        submitted = await embedded.submit(FLOW, *inputs, wait=False, max_concurrency=2)
        watched = Watched(embedded, submitted.run_id)
        for _ in range(steps):
            await asyncio.sleep(0)
        before = (await embedded.runtime.get(submitted.run_id)).status
        last = await embedded.runtime.cancel(submitted.run_id, "enough")
        begun = components.begun
        assert components.executing == 0 or last.status.status is not RunState.CANCELLED
        seen = await watched.all()
        if last.status.status is RunState.CANCELLED:
            for _ in range(20):
                await asyncio.sleep(0)
            assert components.begun == begun
        assert [snapshot.terminal for snapshot in seen] == [False] * (len(seen) - 1) + [True]
        assert seen[-1] == last == await embedded.runtime.get(submitted.run_id)
        assert [snapshot.revision for snapshot in seen] == sorted({snapshot.revision for snapshot in seen})
        for record in accepted.records:
            await check_end(embedded, record.run_id, record.total)
        check_idle(embedded)
        return last.status, before.status


async def check_end(embedded: Embedded, run_id: str, total: int) -> None:
    """The counts of a run add up, and the journal has just these results."""
    snapshot = await embedded.runtime.get(run_id)
    items = snapshot.status.items
    assert snapshot.terminal
    assert items.success + items.failed + items.cancelled == items.total == total
    assert (snapshot.status.status is RunState.CANCELLED) == (items.cancelled > 0)
    assert snapshot.completions == items.success + items.failed
    page = Page(ResultOrder.BY_INDEX, 0, total, 0, total)
    results = await embedded.journal.results(run_id, page)
    assert len(results) == snapshot.completions
    assert sum(result.status is RunState.SUCCESS for result in results) == items.success
    kept = await embedded.journal.load(run_id)
    assert kept is not None
    assert kept[1] is not None
    assert (kept[1].status, kept[1].success, kept[1].failed, kept[1].cancelled) == (
        snapshot.status.status,
        items.success,
        items.failed,
        items.cancelled,
    )


def check_idle(embedded: Embedded) -> None:
    """Nothing is left of what has executed."""
    runtime = embedded.runtime
    shared = runtime._executor._shared
    assert runtime._table.active == {}
    assert runtime._tree._relatives == {}
    assert runtime._nesting._families == {}
    assert runtime._executor._families == {}
    assert (shared.places.taken, shared.room.share.held, shared.callers) == (0, 0, {})


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_retries, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(step_retries, "LAST_PAUSE", 0.0)


@pytest.mark.parametrize("inputs", [(1,), (1, 2, 3)])
async def test_in_memory_at_every_step(inputs: tuple[int, ...]) -> None:
    steps = 0
    states: list[RunState] = []
    while not states or states[-1] is not RunState.SUCCESS:
        status, _ = await cancelled_after(steps, IN_MEMORY, *inputs)
        states.append(status.status)
        steps += 1
    assert set(states[:-1]) == {RunState.CANCELLED}
    assert len(states) > 30


async def test_in_a_file_at_steps_all_over_its_life(tmp_path: Path) -> None:
    state, steps = str(tmp_path / "state.db"), 0
    seen = set()
    while RunState.SUCCESS not in seen:
        status, _ = await cancelled_after(steps, state, 1, 2, 3)
        seen.add(status.status)
        steps = steps * 5 // 4 + 1
    assert seen == {RunState.CANCELLED, RunState.SUCCESS}
    async with stepping(state) as (embedded, components):
        assert await embedded.journal.unfinished(0) == []
        assert components.begun == 0
