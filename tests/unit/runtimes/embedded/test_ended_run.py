"""Runs that have ended: what they show, and what they keep."""

from gateway.core.model import ItemResult, ResultOrder, RunState
from gateway.core.runtime import Page
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.ended_run import (
    EPOCH_BITS,
    RECENT_BYTES,
    RESULT_BYTES,
    RUN_BYTES,
    ended_at_once,
    loaded,
)
from gateway.runtimes.embedded.memory_journal import MemoryJournal

ALL = Page(ResultOrder.BY_INDEX, 0, 3, 0, 3)


def journal(epoch: int) -> MemoryJournal:
    journal = MemoryJournal()
    journal.epoch = epoch
    return journal


def record(total: int) -> RunRecord:
    return RunRecord("run-1", "sha256:x", "name", "label", total, None, None, "{}", None, "", None, "", 7)


def success(index: int, value: str) -> ItemResult:
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=8)


def test_a_run_loaded_after_its_end_knows_its_counts() -> None:
    run = loaded(record(3), Outcome(RunState.FAILED, 2, 1, 99), journal(4), 3)
    last = run.snapshot()
    assert (last.status.items.total, last.status.items.success, last.status.items.failed) == (3, 2, 1)
    assert (last.completions, last.prefix, last.status.completed_at) == (3, 3, 99)
    assert (last.status.status, last.status.flow_name, last.status.flow_label) == (RunState.FAILED, "name", "label")
    assert last.revision == (5 << EPOCH_BITS) - 1, "no state of this epoch or of an earlier one has a larger one"
    assert last.results is None
    assert run.recent(ALL) is None
    assert run.size == RUN_BYTES


def test_a_run_that_has_ended_at_once_has_its_results_at_hand() -> None:
    results = [success(index, str(index)) for index in range(3)]
    run = ended_at_once(record(3), Outcome(RunState.SUCCESS, 3, 0, 9), journal(0), results)
    assert run.snapshot().results == results
    assert run.recent(ALL) == results
    assert run.recent(ALL._replace(start=1, completions=2)) == results[1:2]
    assert run.size == RUN_BYTES + 3 * RESULT_BYTES + 3


def test_large_results_stay_in_the_journal() -> None:
    results = [success(0, "x" * RECENT_BYTES)]
    run = ended_at_once(record(1), Outcome(RunState.SUCCESS, 1, 0, 9), journal(0), results)
    assert run.snapshot().results is None
    assert run.recent(ALL) is None
    assert run.size == RUN_BYTES
