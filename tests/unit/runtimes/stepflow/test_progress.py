"""Folding the events of an engine, whose spelling is that of releases 0.12 and 0.13."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.core.runtime import Snapshot
from gateway.runtimes.stepflow import progress as module
from gateway.runtimes.stepflow.progress import TERMINAL, MalformedEvent, Progress, snapshot

RUN = "01a2047c-35bd-7f91-a677-23bcb13714dd"
OTHER = "01a2047f-4129-7583-ade8-a58a197cf144"
COMPLETED, FAILED = 2, 3


def event(position: int, kind: str, run_id: str = RUN, **members: Any) -> bytes:
    body = {
        "sequenceNumber": position,
        "timestamp": "2026-11-22T18:19:38Z",
        "event": {kind: {"runId": run_id, **members}},
    }
    return json.dumps(body).encode()


def needed(position: int, item: int, *steps: str) -> bytes:
    return event(position, "StepsNeeded", itemIndex=item, stepIds=list(steps))


def started(position: int, item: int, step: str, attempt: int = 1) -> bytes:
    return event(position, "StepStarted", itemIndex=item, stepIndex=0, stepId=step, attempt=attempt)


def completed(position: int, item: int, step: str, status: int = COMPLETED) -> bytes:
    return event(position, "StepCompleted", itemIndex=item, stepIndex=0, stepId=step, status=status)


def folded(total: int, *events: bytes) -> Progress:
    progress = Progress(RUN, total)
    for data in events:
        progress.fold(data)
    return progress


def counts(progress: Progress) -> tuple[int, int, int, int]:
    items = progress.statistics()
    assert items.total == items.pending + items.running + items.success + items.failed
    return items.pending, items.running, items.success, items.failed


HISTORY = [
    event(0, "RunCreated", flowId="f", itemCount=3),
    needed(1, 0, "a", "b"),
    needed(2, 1, "a", "b"),
    needed(3, 2, "a", "b"),
    started(4, 0, "a"),
    started(4, 1, "a"),
    started(4, 2, "a"),
    completed(5, 1, "a"),
    event(6, "StepReady", itemIndex=1, stepIndex=1, stepId="b"),
    started(7, 1, "b"),
    completed(8, 1, "b"),
    completed(9, 0, "a", FAILED),
    started(11, 0, "b"),
    completed(12, 0, "b", FAILED),
    started(13, 2, "a", attempt=2),
    event(14, "RunCompleted", OTHER, status=COMPLETED),
]


def test_an_item_goes_from_pending_over_running_to_success_or_failed() -> None:
    seen: list[tuple[tuple[int, int, int, int], int]] = []
    progress = Progress(RUN, 3)
    for data in HISTORY:
        progress.fold(data)
        if not seen or seen[-1] != (counts(progress), progress.revision):
            seen.append((counts(progress), progress.revision))
    assert seen == [
        ((3, 0, 0, 0), 0),
        ((2, 1, 0, 0), 5),
        ((1, 2, 0, 0), 5),
        ((0, 3, 0, 0), 5),
        ((0, 2, 1, 0), 9),
        ((0, 1, 1, 1), 13),
    ]
    assert progress.position == 14
    assert not progress.ended


@given(st.integers(0, len(HISTORY)), st.integers(0, len(HISTORY)))
def test_a_stream_that_is_taken_up_again_changes_nothing(cut: int, back: int) -> None:
    """Wherever it was cut, and however far back it starts."""
    again = [*HISTORY[:cut], *HISTORY[min(cut, back) :]]
    once, twice = folded(3, *HISTORY), folded(3, *again)
    assert (counts(twice), twice.revision, twice.position) == (counts(once), once.revision, once.position)


def test_what_a_recovered_run_repeats_changes_nothing() -> None:
    progress = folded(1, needed(1, 0, "a"), started(2, 0, "a"), completed(3, 0, "a"))
    progress.fold(needed(8, 0, "a"))
    assert (counts(progress), progress.revision, progress.position) == ((0, 0, 1, 0), 4, 8)


def test_a_step_that_turns_out_to_be_needed_reopens_an_item() -> None:
    progress = folded(1, needed(1, 0, "a"), completed(2, 0, "a"), needed(3, 0, "b"))
    assert (counts(progress), progress.revision) == ((0, 1, 0, 0), 4)
    progress.fold(completed(4, 0, "b"))
    assert (counts(progress), progress.revision) == ((0, 0, 1, 0), 5)


@pytest.mark.parametrize(
    "data",
    [
        event(1, "StepStarted", OTHER, itemIndex=0, stepIndex=0, stepId="a", attempt=1),
        started(1, 1, "a"),
        started(1, -1, "a"),
        event(1, "SubRunCreated", OTHER, parentRunId=RUN, flowId="f", itemCount=9),
        event(1, "SomethingNew"),
        b'{"sequenceNumber": 1, "event": {}}',
    ],
)
def test_what_is_not_of_this_run_is_passed_over(data: bytes) -> None:
    progress = folded(1, data)
    assert (counts(progress), progress.revision, progress.position) == ((1, 0, 0, 0), 0, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"event": {"StepStarted": {}}}',
        b'{"sequenceNumber": "1", "event": {}}',
        b'{"\xff": 1}',
    ],
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedEvent):
        folded(1, data)


def test_the_end_is_that_of_the_run_itself() -> None:
    assert folded(1, event(5, "RunCompleted", status=FAILED)).ended


def test_steps_without_names_leave_items_running() -> None:
    """An engine that cannot read the flow any more names none."""
    unnamed = event(2, "StepCompleted", itemIndex=0, stepIndex=0, status=COMPLETED)
    assert counts(folded(1, needed(1, 0), unnamed)) == (0, 1, 0, 0)


def status(state: RunState, items: ItemStatistics) -> RunStatus:
    return RunStatus(run_id=RUN, flow_id="f", status=state, items=items, created_at=0)


def test_the_snapshot_of_a_run_that_goes_on() -> None:
    running = status(RunState.RUNNING, ItemStatistics(total=3, running=3))
    assert snapshot(running) == Snapshot(running, 0, 0, 0)
    assert snapshot(running, Progress(RUN, 3)) == Snapshot(running, 0, 0, 0)
    told = snapshot(running, folded(3, *HISTORY))
    assert told.status.items == ItemStatistics(total=3, running=1, success=1, failed=1)
    assert (told.revision, told.completions, told.prefix) == (13, 0, 0)


def test_the_snapshot_of_a_run_that_is_over_is_the_engines() -> None:
    over = status(RunState.FAILED, ItemStatistics(total=3, success=2, failed=1))
    assert snapshot(over, folded(3, *HISTORY)) == Snapshot(over, TERMINAL + 3, 3, 3)
    cancelled = status(RunState.CANCELLED, ItemStatistics(total=3, success=1, running=2))
    assert snapshot(cancelled) == Snapshot(cancelled, TERMINAL + 1, 1, 0)


def test_the_steps_of_too_many_items_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ITEMS", 2)
    running = status(RunState.RUNNING, ItemStatistics(total=3, running=3))
    assert snapshot(running, folded(3, *HISTORY)) == Snapshot(running, 0, 0, 0)
