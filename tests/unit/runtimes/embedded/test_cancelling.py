"""Cancelling runs: what they keep, what becomes of those inside them, and what is refused from then on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import ParentCancelled, RunNotFound, StateUnavailable, Unavailable
from gateway.core.model import (
    Blob,
    BlobType,
    GetParams,
    ItemStatistics,
    ObservabilityContext,
    ResultOrder,
    RunState,
)
from gateway.core.runtime import Page, Snapshot
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded import cancelling, results_keeper
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


async def test_a_run_inside_is_cancelled_alone_and_its_items_have_failed_for_the_one_around_it(
    opener: Opener, held: HeldComponent
) -> None:
    flow = mapped(HELD, 1, 2)
    flow["output"] = {"$step": "m"}
    async with opener() as embedded:
        held.release(2)
        status = await embedded.submit(flow, 1, wait=False)
        await held.executes(2)
        (inner,) = (run_id for run_id in embedded.runtime._table.active if run_id != status.run_id)
        await with_result(embedded, inner)
        await embedded.runtime.cancel(inner, "no more")
        outer = await embedded.wait(status.run_id)
        assert outer.results is not None
        assert json.loads(outer.results[0].value or "") == {
            "results": [
                {"outcome": "failed", "error": {"code": -32100, "message": "the item was cancelled"}},
                {"outcome": "success", "result": 2},
            ],
            "successful": 1,
            "failed": 1,
        }


async def test_a_run_that_is_evaluated_and_cancelled_has_failed(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        flow_id = await embedded.put(HELD)
        given = {"flow_id": flow_id, "input": 1}
        flow = {
            "steps": [{"id": "e", "component": "/builtin/eval", "input": given}],
            "output": {"$step": "e", "path": "result"},
        }
        status = await embedded.submit(flow, 1, wait=False)
        await held.executes(1)
        (inner,) = (run_id for run_id in embedded.runtime._table.active if run_id != status.run_id)
        await embedded.runtime.cancel(inner, None)
        outer = await embedded.wait(status.run_id)
        assert outer.results is not None
        assert json.loads(outer.results[0].value or "")["error"]["message"] == "the item was cancelled"


async def test_nothing_begins_inside_a_run_that_is_cancelled(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        status = await embedded.submit(HELD, 1, wait=False)
        await held.executes(1)
        trace = ObservabilityContext(run_id=status.run_id)
        inner = await embedded.submit(HELD, 2, wait=False, observability=trace)
        await held.executes(2)
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, None))
        for _ in range(5):
            await asyncio.sleep(0)
        assert embedded.runtime._tree.cancels
        for parent in (status.run_id, inner.run_id):
            for flow in (HELD, {"output": 1}):
                with pytest.raises(ParentCancelled):
                    await embedded.submit(flow, 3, wait=False, observability=ObservabilityContext(run_id=parent))
        await cancelled
        for parent in (status.run_id, inner.run_id):
            with pytest.raises(ParentCancelled, match=f"^the run {parent} is cancelled, so nothing may begin in it$"):
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
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, "enough"))
        await asyncio.sleep(0)
        resume = embedded.runtime._resumption._resume

        async def never(run_id: str) -> Any:
            await asyncio.Event().wait()

        embedded.runtime._resumption._resume = never
        embedded.runtime.resume()
        assert (await cancelled).status.items.cancelled == 1
        for run_id in ids:
            assert (await embedded.service.get(GetParams(run_id=run_id))).status is RunState.CANCELLED
        assert embedded.runtime._nesting._families == {}
        embedded.runtime._resumption._resume = resume
    async with opened(path) as embedded:
        assert await embedded.journal.unfinished(0) == []
    assert len(held.given) == 4


async def test_while_the_state_cannot_be_written_a_run_stops_and_ends_later(
    opener: Opener, held: HeldComponent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(results_keeper, "RETRY_SECONDS", 0)
    async with opener() as embedded:
        complete = embedded.journal.complete
        full = True

        async def refuse(*arguments: Any, **named: Any) -> None:
            if full:
                embedded.journal.readiness.report("the disk is full")
                await asyncio.sleep(0)
                raise StateUnavailable("the disk is full")
            embedded.journal.readiness.report(None)
            await complete(*arguments, **named)

        embedded.journal.complete = refuse  # type: ignore[method-assign]
        status = await embedded.submit(mapped(HELD, 1, 2), 1, wait=False)
        await held.executes(2)
        for _ in range(2):
            with pytest.raises(StateUnavailable, match="its end is still to be written: the disk is full"):
                await embedded.runtime.cancel(status.run_id, "enough")
        await held.loses(2)
        assert not (await embedded.runtime.get(status.run_id)).terminal
        full = False
        last = await embedded.wait(status.run_id)
        assert (last.status, last.cancel_reason) == (RunState.CANCELLED, "enough")
        assert embedded.runtime._table.active == {}


async def test_a_cancel_that_the_end_of_the_gateway_cuts_off_can_be_repeated(
    tmp_path: Path, held: HeldComponent
) -> None:
    path = tmp_path / "state.db"
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(HELD, 1, wait=False)
        await held.executes(1)
        may_write = asyncio.Event()

        async def hold(*arguments: Any, **named: Any) -> None:
            await may_write.wait()

        embedded.journal.complete = hold  # type: ignore[method-assign]
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, None))
        await held.loses(1)
        await embedded.runtime.drain()
        with pytest.raises(Unavailable):
            await cancelled
        with pytest.raises(Unavailable):
            await embedded.runtime.cancel(status.run_id, None)
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        await held.executes(2)
        assert (await embedded.runtime.cancel(status.run_id, None)).status.status is RunState.CANCELLED
        assert embedded.runtime._table.active == {}


async def test_a_run_whose_flow_is_not_valid_any_more_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    record = RunRecord(NEVER, "flow", None, None, 2, None, None, "{}", None, "", None, "", 7)
    async with opened(path) as embedded:
        await embedded.journal.put_blob("flow", Blob('{"output":{"$no":1}}', BlobType.FLOW))
        await embedded.journal.create(record, ["1", "2"])
    async with opened(path) as embedded:
        await embedded.start()
        assert (await embedded.service.get(GetParams(run_id=NEVER))).status is RunState.PENDING
        last = await embedded.runtime.cancel(NEVER, "stuck")
        assert (last.status.status, last.status.items.cancelled) == (RunState.CANCELLED, 2)
    async with opened(path) as embedded:
        assert await embedded.journal.unfinished(0) == []


async def test_a_run_that_is_still_arriving_goes_with_the_run_that_it_is_inside(
    tmp_path: Path, held: HeldComponent
) -> None:
    path = tmp_path / "state.db"
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(HELD, 0, wait=False)
        await held.executes(1)
        arrivals = embedded.journal._arrivals  # type: ignore[attr-defined]
        insert = arrivals._insert
        arriving, may_go_on = asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any) -> None:
            arriving.set()
            await may_go_on.wait()
            await insert(*arguments)

        arrivals._insert = slow
        trace = ObservabilityContext(run_id=status.run_id)
        inner = asyncio.create_task(embedded.submit(HELD, *range(10_000), wait=False, observability=trace))
        await arriving.wait()
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, None))
        await held.loses(1)
        may_go_on.set()
        with pytest.raises(ParentCancelled):
            await inner
        assert (await cancelled).status.status is RunState.CANCELLED
        assert embedded.runtime._table.active == {}
        assert embedded.runtime._tree._relatives == {}
        assert embedded.runtime._nesting._families == {}
    assert held.given == [0]
    async with opened(path) as embedded:
        assert await embedded.journal.unfinished(0) == []


async def test_a_run_that_is_accepted_meanwhile_ends_before_it_executes(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        status = await embedded.submit(HELD, 0, wait=False)
        await held.executes(1)
        create = embedded.journal.create
        creating, may_go_on = asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any) -> Any:
            creating.set()
            await may_go_on.wait()
            return await create(*arguments)

        embedded.journal.create = slow  # type: ignore[method-assign, assignment]
        trace = ObservabilityContext(run_id=status.run_id)
        submitting = asyncio.create_task(embedded.submit(HELD, 1, wait=False, observability=trace))
        await creating.wait()
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, None))
        await held.loses(1)
        may_go_on.set()
        inner = await submitting
        assert (await cancelled).status.status is RunState.CANCELLED
        assert (await embedded.runtime.get(inner.run_id)).status.status is RunState.CANCELLED
    assert held.given == [0]


async def test_those_who_cancel_at_the_same_time_get_the_same_answer(opener: Opener, held: HeldComponent) -> None:
    async with opener() as embedded:
        status = await embedded.submit(mapped(mapped(HELD, 1, 2), 1), 1, wait=False)
        await held.executes(2)
        ids = list(embedded.runtime._table.active)
        answers = await asyncio.gather(
            *(embedded.runtime.cancel(run_id, str(number)) for number in range(3) for run_id in ids)
        )
        by_run = {answer.status.run_id: answer for answer in answers}
        assert all(answer == by_run[answer.status.run_id] for answer in answers)
        assert {answer.status.status for answer in answers} == {RunState.CANCELLED}
        assert by_run[status.run_id].status.cancel_reason == "0"


async def test_a_run_that_was_left_inside_one_that_has_ended_goes_with_those_further_out(
    opener: Opener, held: HeldComponent
) -> None:
    async with opener() as embedded:
        outer = await embedded.submit(HELD, 0, wait=False)
        await held.executes(1)
        middle = await embedded.submit(HELD, 1, wait=False, observability=ObservabilityContext(run_id=outer.run_id))
        await held.executes(2)
        inner = await embedded.submit(HELD, 2, wait=False, observability=ObservabilityContext(run_id=middle.run_id))
        await held.executes(3)
        held.release(1)
        assert (await embedded.wait(middle.run_id)).status is RunState.SUCCESS
        status = (await embedded.runtime.get(inner.run_id)).status
        assert (status.parent_run_id, status.root_run_id, status.depth) == (middle.run_id, outer.run_id, 2)
        await embedded.runtime.cancel(outer.run_id, None)
        assert (await embedded.runtime.get(inner.run_id)).status.status is RunState.CANCELLED
        assert (await embedded.runtime.get(middle.run_id)).status.status is RunState.SUCCESS
        with pytest.raises(ParentCancelled):
            await embedded.submit(HELD, 3, wait=False, observability=ObservabilityContext(run_id=middle.run_id))
        assert embedded.runtime._tree._relatives == {}


async def test_callbacks_for_a_cancelled_run_are_refused(held: HeldComponent) -> None:
    async with opened(components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(mapped(HELD, 1), 1, wait=False)
        await held.executes(1)
        (inner,) = (run_id for run_id in embedded.runtime._table.active if run_id != status.run_id)
        may_write = asyncio.Event()
        complete = embedded.journal.complete

        async def hold(*arguments: Any, **named: Any) -> None:
            await may_write.wait()
            await complete(*arguments, **named)

        embedded.journal.complete = hold  # type: ignore[method-assign]
        embedded.runtime.refuse_cancelled(f"{inner}/0/s")
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, None))
        await held.loses(1)
        with pytest.raises(ParentCancelled, match=f"{inner}/0/s: the run {inner} is cancelled"):
            embedded.runtime.refuse_cancelled(f"{inner}/0/s")
        may_write.set()
        await cancelled


async def test_a_cancel_that_is_cut_off_between_two_runs_goes_on_after_the_restart(
    tmp_path: Path, held: HeldComponent
) -> None:
    path = tmp_path / "state.db"
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(mapped(mapped(HELD, 1, 2), "a"), 1, wait=False)
        await held.executes(2)
        ids = list(embedded.runtime._table.active)
        complete = embedded.journal._complete
        cut = asyncio.Event()

        async def first_only(run_id: str, *arguments: Any) -> None:
            if cut.is_set():
                await asyncio.Event().wait()
            await complete(run_id, *arguments)
            cut.set()

        embedded.journal._complete = first_only  # type: ignore[method-assign, assignment]
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, "enough"))
        await cut.wait()
        await embedded.runtime.drain()
        with pytest.raises(Unavailable):
            await cancelled
    async with opened(path, components={"/test": held.server.url}) as embedded:
        assert [len(await embedded.journal.cancel_notes.all()), len(await embedded.journal.unfinished(0))] == [1, 2]
        await embedded.runtime.start(embedded.service)
        asking = [asyncio.create_task(embedded.wait(run_id)) for run_id in ids]
        embedded.runtime.resume()
        assert {(await ask).status for ask in asking} == {RunState.CANCELLED}
        assert (await embedded.runtime.get(status.run_id)).status.cancel_reason == "enough"
        assert await embedded.journal.cancel_notes.all() == []
        assert embedded.runtime._tree._relatives == {}
    assert len(held.given) == 2
