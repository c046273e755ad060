"""A run in memory: its states, its counts, and who is woken when."""

import asyncio

from gateway.core.model import ItemError, ItemResult, ItemStatistics, ResultOrder, RunState
from gateway.core.runtime import Page
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded.ended_run import RECENT_BYTES, RESULT_BYTES, RUN_BYTES
from gateway.runtimes.embedded.journal import FinishedItems
from gateway.runtimes.embedded.run import Run


def record(total: int) -> RunRecord:
    return RunRecord("run-1", "sha256:x", None, None, total, None, None, "{}", None, "", None, "", 7)


def success(index: int, value: str = "1") -> ItemResult:
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=1)


def failure(index: int) -> ItemResult:
    return ItemResult(item_index=index, status=RunState.FAILED, error=ItemError(code=1, message="m"), completed_at=1)


def finish(run: Run, result: ItemResult) -> None:
    run.start(result.item_index)
    run.publish([run.complete(result)], run.end)


def test_a_run_is_pending_then_running_then_succeeds() -> None:
    run = Run(record(2))
    assert run.snapshot().status.status is RunState.PENDING
    assert run.snapshot().status.items.pending == 2
    run.start(0)
    assert run.snapshot().status.status is RunState.RUNNING
    assert run.snapshot().status.items.running == 1
    run.publish([run.complete(success(0))], run.end)
    assert run.snapshot().status.items == ItemStatistics(total=2, pending=1, success=1)
    finish(run, success(1))
    status = run.snapshot().status
    assert (status.status, status.items.success, run.finished) == (RunState.SUCCESS, 2, True)
    assert status.completed_at is not None


def test_one_failed_item_fails_the_run_when_all_have_finished() -> None:
    run = Run(record(2))
    finish(run, failure(1))
    assert run.snapshot().status.status is RunState.RUNNING
    finish(run, success(0))
    assert run.snapshot().status.status is RunState.FAILED
    assert run.snapshot().status.items == ItemStatistics(total=2, success=1, failed=1)


def test_a_run_that_has_ended_is_the_same_run() -> None:
    run = Run(record(2), epoch=3)
    finish(run, success(1, '"later"'))
    finish(run, success(0))
    ended = run.ended()
    assert ended.record is run.record
    assert ended.snapshot() is run.snapshot()
    assert ended.snapshot().results is None, "they are not in the order of the items"
    page = Page(ResultOrder.BY_COMPLETION, 0, 2, 0, 2)
    recent = ended.recent(page)
    assert recent == run.recent(page)
    assert recent is not None
    assert [result.value for result in recent] == ['"later"', "1"]
    assert ended.size == RUN_BYTES + 2 * RESULT_BYTES + len('"later"') + len("1")


def test_a_completion_is_unseen_until_it_is_published() -> None:
    run = Run(record(1))
    run.start(0)
    before = run.snapshot()
    completion = run.complete(success(0))
    assert run.snapshot() is before
    assert not run.is_done(0)
    run.publish([completion])
    assert run.snapshot().completions == 1


def test_a_run_tells_when_it_began_before_and_after_its_end() -> None:
    run = Run(record(1))
    assert run.snapshot().status.started_at is None
    run.start(0)
    started_at = run.snapshot().status.started_at
    assert started_at is not None
    run.publish([run.complete(success(0))], run.end)
    status = run.snapshot().status
    assert status.started_at == started_at
    assert started_at <= (status.completed_at or 0)


def test_the_prefix_counts_leading_finished_items() -> None:
    run = Run(record(3))
    prefixes = []
    for index in (1, 0, 2):
        finish(run, success(index))
        prefixes.append(run.snapshot().prefix)
    assert prefixes == [0, 2, 3]


def test_a_restored_run_goes_on_where_it_was() -> None:
    run = Run(record(3))
    run.restore(0, FinishedItems(b"\0", 0))
    assert run.snapshot().status.status is RunState.PENDING
    run = Run(record(3))
    run.restore(0, FinishedItems(b"\0", 0))
    run.restore(1, FinishedItems(b"\0\1", 1))
    snapshot = run.snapshot()
    assert snapshot.status.status is RunState.RUNNING
    assert (snapshot.completions, snapshot.prefix) == (1, 0)
    assert [run.is_done(index) for index in range(3)] == [False, False, True]
    assert [run.next_unfinished(index) for index in range(3)] == [0, 1, 3]
    assert run.recent(Page(ResultOrder.BY_INDEX, 0, 3, 0, 1)) is None
    run.start(0)
    assert run.complete(success(0)).place == 1
    run.start(1)
    assert run.end is None
    run.complete(success(1))
    assert run.end is not None


def test_recent_results_answer_both_orders_until_they_are_too_large() -> None:
    run = Run(record(3))
    finish(run, success(2))
    finish(run, success(0))
    by_completion = run.recent(Page(ResultOrder.BY_COMPLETION, 0, 3, 0, 2))
    by_index = run.recent(Page(ResultOrder.BY_INDEX, 0, 3, 0, 2))
    assert by_completion is not None
    assert by_index is not None
    assert [r.item_index for r in by_completion] == [2, 0]
    assert [r.item_index for r in by_index] == [0, 2]
    finish(run, success(1, '"' + "x" * RECENT_BYTES + '"'))
    assert run.recent(Page(ResultOrder.BY_INDEX, 0, 3, 0, 3)) is None


async def test_waiting_ends_with_the_next_change_even_if_others_have_looked_already() -> None:
    run = Run(record(1))
    seen = run.snapshot()
    waiting = asyncio.create_task(run.changed(seen))
    await asyncio.sleep(0)
    assert not waiting.done()
    run.start(0)
    assert run.snapshot() is not seen
    await waiting
    await run.changed(seen)
