"""Histories that a real server has recorded tell the same as the workflows that made them."""

from typing import Any, Final

import pytest
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import (
    ActivityTaskFailedEventAttributes,
    ActivityTaskScheduledEventAttributes,
    HistoryEvent,
    WorkflowExecutionStartedEventAttributes,
)

from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.closed_history import ClosedHistory
from gateway.runtimes.temporal.converter import DATA_CONVERTER
from gateway.runtimes.temporal.messages import (
    EXECUTE_CHUNK,
    Carried,
    Inputs,
    ItemChunk,
    KeptResult,
    ResultsPart,
    RunResult,
    StartRun,
)
from tests.support import temporal_histories

NAMES: Final = temporal_histories.names()
RECORD = RunRecord("r", "f", None, None, 6, None, None, "{}", None, "", None, "", 1)
DONE = ResultsPart(1, 2, 1, 0, 1, (KeptResult(1, "1", 50),))


@pytest.mark.parametrize("name", NAMES)
async def test_a_history_tells_what_its_run_came_to(name: str) -> None:
    history, result = ClosedHistory(), None
    for event in temporal_histories.read(name).events:
        await history.note(event, DATA_CONVERTER)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            payloads = event.workflow_execution_completed_event_attributes.result.payloads
            [result] = await DATA_CONVERTER.decode(payloads, [RunResult])
    if result is None:
        # It was ended by an operator, or has begun anew.
        assert history.left
        return
    assert history.parts == [part for part in result.parts if part.cancelled_at is None]
    cancelled = [(part.low, part.high) for part in result.parts if part.cancelled_at is not None]
    assert history.left == sorted(cancelled)
    ended, counts = result.ended, history.counts()
    assert (counts.success, counts.failed) == (ended.counts.success, ended.counts.failed)
    assert history.started_at == ended.started_at
    assert history.revision >= ended.revision


async def payloads(message: Any) -> Payloads:
    return Payloads(payloads=await DATA_CONVERTER.encode([message]))


async def started(carried: Carried | None = None) -> ClosedHistory:
    history = ClosedHistory()
    given = await payloads(StartRun(RECORD, Inputs(("1",) * 6), carried=carried))
    event = HistoryEvent(
        event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        workflow_execution_started_event_attributes=WorkflowExecutionStartedEventAttributes(input=given),
    )
    await history.note(event, DATA_CONVERTER)
    return history


async def test_nobody_has_begun() -> None:
    history = await started()
    assert (history.left, history.parts, history.started_at) == ([(0, 6)], [], None)


async def test_what_came_before_an_execution_counts() -> None:
    history = await started(Carried(7, 10, 2, 0, rest=((0, 1),), done=((1, 2),), parts=(DONE,)))
    assert (history.left, history.parts, history.started_at) == ([(0, 1), (2, 6)], [DONE], 10)
    assert history.revision == 8


async def test_items_at_which_a_gateway_has_failed_have_failed() -> None:
    history = await started()
    task = ActivityTaskScheduledEventAttributes(input=await payloads(ItemChunk(RECORD, 2, 4, Inputs(("1",) * 2), 1)))
    task.activity_type.name = EXECUTE_CHUNK
    scheduled = HistoryEvent(
        event_id=5,
        event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        activity_task_scheduled_event_attributes=task,
    )
    failed = HistoryEvent(
        event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
        activity_task_failed_event_attributes=ActivityTaskFailedEventAttributes(scheduled_event_id=5),
    )
    for event in (scheduled, failed):
        await history.note(event, DATA_CONVERTER)
    assert (history.counts().failed, history.left) == (2, [(0, 2), (4, 6)])
