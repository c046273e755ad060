"""Cancelling runs: what they keep, what becomes of those inside them, and what is refused from then on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import ParentCancelled, RunNotFound
from gateway.core.model import GetParams, ItemStatistics, ObservabilityContext, ResultOrder, RunState
from gateway.core.runtime import Page, Snapshot
from tests.support.embedded import Embedded, opened
from tests.support.held_component import HELD, HeldComponent

NEVER = "0192aaaa-0000-7000-8000-000000000001"


def mapped(flow: dict[str, Any], *items: Any) -> dict[str, Any]:
    """A flow that runs another one for each of some items."""
    given = {"workflow": {"$literal": flow}, "items": list(items)}
    return {
        "steps": [{"id": "m", "component": "/builtin/map", "input": given}],
        "output": {"$step": "m", "path": "successful"},
    }


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


Opener = Callable[[], AbstractAsyncContextManager[Embedded]]


@pytest.fixture(params=["memory", "file"])
def opener(request: pytest.FixtureRequest, tmp_path: Path, held: HeldComponent) -> Opener:
    """Opens and starts a runtime; one in a file goes on where it was."""

    @asynccontextmanager
    async def open_and_start() -> AsyncIterator[Embedded]:
        path = tmp_path / "state.db" if request.param == "file" else None
        async with opened(path, components={"/test": held.server.url}) as embedded:
            await embedded.start()
            yield embedded

    return open_and_start


async def with_result(embedded: Embedded, run_id: str) -> Snapshot:
    """The state of a run as soon as it has a result."""
    async with aclosing(embedded.runtime.watch(run_id)) as watch:
        async for snapshot in watch:
            if snapshot.completions:
                return snapshot
    raise AssertionError("it has ended without a result")


async def test_items_with_results_keep_them_and_all_others_are_cancelled(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        held.release(1)
        status = await embedded.submit(HELD, 0, 1, 2, 3, wait=False, max_concurrency=2)
        await held.executes(3)
        seen = await with_result(embedded, status.run_id)
        assert seen.status.items == ItemStatistics(total=4, success=1, running=2, pending=1)
        watching = asyncio.create_task(embedded.wait(status.run_id))
        last = await embedded.runtime.cancel(status.run_id, "enough")
        assert last.terminal
        assert last.status.status is RunState.CANCELLED
        assert last.status.items == ItemStatistics(total=4, success=1, cancelled=3)
        assert (last.status.cancel_reason, last.completions, last.prefix) == ("enough", 1, 0)
        assert last.revision > seen.revision
        assert (last.status.started_at or 0) <= (last.status.completed_at or 0)
        assert [result.value for result in (await watching).results or ()] == ["1"]
        again = await embedded.runtime.cancel(status.run_id, "again")
        assert again.status == last.status
        page = Page(ResultOrder.BY_INDEX, 0, 4, 0, 1)
        assert [result.item_index for result in await embedded.journal.results(status.run_id, page)] == [1]
        kept = await embedded.journal.load(status.run_id)
        assert kept is not None
        assert kept[1] is not None
        assert (kept[1].status, kept[1].success, kept[1].cancelled) == (RunState.CANCELLED, 1, 3)
        await held.loses(2)
    assert sorted(held.lost) == [0, 2]
    assert sorted(held.given) == [0, 1, 2]


async def test_a_run_that_has_ended_stays_as_it_is(opener: Opener) -> None:
    async with opener() as embedded:
        for status in (
            await embedded.submit({"output": 1}, 1),
            await embedded.submit(mapped({"output": 1}, 1, 2), 1),
        ):
            last = await embedded.runtime.cancel(status.run_id, "late")
            assert (last.status.status, last.status.cancel_reason) == (RunState.SUCCESS, None)
        with pytest.raises(RunNotFound):
            await embedded.runtime.cancel(NEVER, None)


async def test_runs_inside_are_cancelled_first_however_deep(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        order: list[str] = []
        complete = embedded.journal.complete

        async def noted(run_id: str, *arguments: Any, **named: Any) -> None:
            await complete(run_id, *arguments, **named)
            order.append(run_id)

        embedded.journal.complete = noted  # type: ignore[method-assign]
        status = await embedded.submit(mapped(mapped(HELD, 1, 2), "a", "b"), 1, wait=False)
        await held.executes(4)
        ids = list(embedded.runtime._table.active)
        assert len(ids) == 4
        records = {run_id: embedded.runtime._table.active[run_id].record for run_id in ids}
        last = await embedded.runtime.cancel(status.run_id, "enough")
        assert last.status.status is RunState.CANCELLED
        assert sorted(order) == sorted(ids)
        assert [records[run_id].depth for run_id in order] == [2, 2, 1, 0]
        for run_id in ids:
            inner = (await embedded.runtime.get(run_id)).status
            assert inner.status is RunState.CANCELLED
            assert inner.items.cancelled == inner.items.total
            assert "enough" in (inner.cancel_reason or "")
        assert embedded.runtime._table.active == {}
        assert embedded.runtime._tree._relatives == {}
        assert embedded.runtime._nesting._families == {}
        await held.loses(4)


async def test_a_run_inside_is_cancelled_alone(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        status = await embedded.submit(mapped(HELD, 1, 2), 1, wait=False)
        await held.executes(2)
        (inner,) = (run_id for run_id in embedded.runtime._table.active if run_id != status.run_id)
        await embedded.runtime.cancel(inner, None)
        outer = await embedded.wait(status.run_id)
        assert (outer.status, [result.value for result in outer.results or ()]) == (RunState.SUCCESS, ["0"])


async def test_nothing_begins_inside_a_run_that_is_cancelled(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        status = await embedded.submit(HELD, 1, wait=False)
        await held.executes(1)
        trace = ObservabilityContext(run_id=status.run_id)
        inner = await embedded.submit(HELD, 2, wait=False, observability=trace)
        await held.executes(2)
        cancelling = asyncio.create_task(embedded.runtime.cancel(status.run_id, None))
        for _ in range(5):
            await asyncio.sleep(0)
        assert embedded.runtime._tree.cancels
        for parent in (status.run_id, inner.run_id):
            for flow in (HELD, {"output": 1}):
                with pytest.raises(ParentCancelled):
                    await embedded.submit(flow, 3, wait=False, observability=ObservabilityContext(run_id=parent))
        await cancelling
        for parent in (status.run_id, inner.run_id):
            with pytest.raises(ParentCancelled):
                await embedded.submit(HELD, 3, wait=False, observability=ObservabilityContext(run_id=parent))
        assert held.given == [1, 2]
    async with opener() as embedded:
        if embedded.runtime._journal.epoch > 1:
            for parent in (status.run_id, inner.run_id):
                with pytest.raises(ParentCancelled):
                    await embedded.submit(HELD, 3, wait=False, observability=ObservabilityContext(run_id=parent))


async def test_what_is_cancelled_stays_so_after_a_restart(tmp_path: Path, held: HeldComponent) -> None:
    path = tmp_path / "state.db"
    held.release(1)
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(HELD, 0, 1, 2, wait=False)
        await held.executes(3)
        await with_result(embedded, status.run_id)
        before = await embedded.runtime.cancel(status.run_id, "enough")
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        after = await embedded.runtime.get(status.run_id)
        assert (after.status, after.completions, after.prefix) == (before.status, before.completions, before.prefix)
        assert [result.value for result in (await embedded.wait(status.run_id)).results or ()] == ["1"]
        assert await embedded.journal.unfinished(0) == []
    assert len(held.given) == 3


async def test_runs_from_before_are_cancelled_with_those_inside_them(tmp_path: Path, held: HeldComponent) -> None:
    path = tmp_path / "state.db"
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(mapped(mapped(HELD, 1, 2), "a", "b"), 1, wait=False)
        await held.executes(4)
        ids = list(embedded.runtime._table.active)
    async with opened(path) as embedded:
        await embedded.runtime.start(embedded.service)
        cancelling = asyncio.create_task(embedded.runtime.cancel(status.run_id, "enough"))
        await asyncio.sleep(0)
        resume = embedded.runtime._resumption._resume

        async def never(run_id: str) -> Any:
            await asyncio.Event().wait()

        embedded.runtime._resumption._resume = never
        embedded.runtime.resume()
        assert (await cancelling).status.items.cancelled == 1
        for run_id in ids:
            assert (await embedded.service.get(GetParams(run_id=run_id))).status is RunState.CANCELLED
        assert embedded.runtime._nesting._families == {}
        embedded.runtime._resumption._resume = resume
    async with opened(path) as embedded:
        assert await embedded.journal.unfinished(0) == []
    assert len(held.given) == 4
