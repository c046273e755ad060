"""The runs in the engine: each is a workflow."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import starmap
from typing import Any, Final, NamedTuple

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryRejectedError,
)
from temporalio.common import (
    QueryRejectCondition,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from gateway.adapter.params_json import labels_from_json
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import RunNotFound, Unavailable
from gateway.core.model import Nanoseconds, RunState
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.closed_history import ClosedHistory
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine_call import EngineCall
from gateway.runtimes.temporal.engine_errors import NoSuchWorkflow
from gateway.runtimes.temporal.messages import (
    CANCEL,
    NESTED,
    PROGRESS,
    SPLIT,
    TASK_QUEUE,
    WORKFLOW,
    CancelRequest,
    ChunkSplit,
    RunEnd,
    RunReport,
    RunResult,
    StartRun,
)
from gateway.runtimes.temporal.question_patience import QuestionPatience
from gateway.runtimes.temporal.run_names import run_id_of_workflow, workflow_id
from gateway.runtimes.temporal.search_attributes import (
    CREATED,
    FLOW_ID,
    FLOW_LABEL,
    FLOW_NAME,
    LABELS,
    PARENT,
    ROOT,
    RUNS_NAMESPACE,
    STATE,
)
from gateway.runtimes.temporal.search_texts import search_label, search_text

STEP_TIMEOUT: Final = timedelta(seconds=10)
"""After so long, another gateway does a step of a workflow that one has taken and not done: it has died, or stopped.

Less than it takes to replay a long history on a busy machine would do harm: such a step would never end.
"""

RUN_MEMO: Final = "run"
ENDED_MEMO: Final = "ended"
"""What a workflow is described with: its run as it was accepted, and how it has ended."""

_PAGE: Final = 1_000
"""How many runs are looked for at once."""


STARTS: Final = 8
"""How many runs are being started at the same time. An engine that gets many at once does one after the other, and the
last ones would look as if it were away."""

_FIRST_EVENTS: Final = 16
"""Among so many events there is the first step of a run, unless it was told much before anybody began."""

_EVENTS: Final = 1_000
"""How many events are read at once. The engine sends fewer if they are long."""

_SILENCE: Final = "no gateway that executes runs answers"


class NoWorker(Unavailable):
    """No gateway that executes runs answers."""


class ClosedOutside(NamedTuple):
    """How a workflow was ended, but not by a gateway: its status, when, and which of its executions."""

    status: WorkflowExecutionStatus
    at: Nanoseconds
    execution: str


class Described(NamedTuple):
    """A run that the engine has. `ended` is None if it has not, or has been ended from outside, then with `closed`."""

    record: RunRecord
    ended: RunEnd | None
    closed: ClosedOutside | None


class Engine:
    """Starts, asks and ends the workflows of runs. Every method may raise what `EngineCall` does."""

    def __init__(self, connection: TemporalConnection) -> None:
        self._connection = connection
        self._starts = asyncio.Semaphore(STARTS)
        self._patience = QuestionPatience(connection)

    @property
    def is_here(self) -> bool:
        """Whether the engine is there, as far as is known."""
        return self._connection.presence.is_here

    async def start(self, start: StartRun) -> bool:
        """Start a run. False if there is one with its id, or has been, and the engine still knows of it."""
        try:
            async with self._starts, EngineCall(self._connection, "StartWorkflowExecution") as client:
                await client.start_workflow(
                    WORKFLOW,
                    start,
                    id=workflow_id(start.record.run_id),
                    task_queue=TASK_QUEUE,
                    task_timeout=STEP_TIMEOUT,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    memo={RUN_MEMO: start.record},
                    search_attributes=found_by(start.record),
                )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def progress(self, run_id: str, seen: int) -> RunReport | None:
        """How far a run is, and its results from the place `seen` on; None if it has ended.

        Gateways that execute runs answer this. Raises NoWorker if none does, and RunNotFound.
        """
        try:
            async with EngineCall(self._connection, "QueryWorkflow") as client:
                handle = client.get_workflow_handle(workflow_id(run_id))
                reject = QueryRejectCondition.NOT_OPEN
                question = handle.query(PROGRESS, seen, result_type=RunReport, reject_condition=reject)
                try:
                    return await self._patience.answer(question)
                except TimeoutError:
                    # The engine is there: it waits for somebody who answers.
                    raise NoWorker(_SILENCE, retry_after=1.0) from None
        except WorkflowQueryRejectedError:
            return None
        except NoSuchWorkflow:
            raise _not_found(run_id) from None
        except RPCError as error:
            if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            # No gateway takes questions, or those that did the last step have failed at that. Or nobody has begun.
            raise NoWorker(_SILENCE, retry_after=1.0) from None

    async def has_begun(self, run_id: str) -> bool:
        """Whether a gateway has done a step of a run. Raises RunNotFound.

        The number of events does not tell: there are some of what the run is told, and of steps that have failed.
        """
        async with aclosing(self._events(run_id, None, _FIRST_EVENTS)) as events:
            async for _, event in events:
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                    return True
                if event.workflow_execution_started_event_attributes.continued_execution_run_id:
                    return True
        return False

    async def closed_history(self, run_id: str, execution: str) -> ClosedHistory:
        """What a run has come to by the end of one of its executions, which is closed. Raises RunNotFound."""
        history, pace = ClosedHistory(), TimeSlice()
        async with aclosing(self._events(run_id, execution, _EVENTS)) as events:
            async for client, event in events:
                await history.note(event, client.data_converter)
                await pace.checkpoint()
        return history

    async def describe(self, run_id: str) -> Described:
        """What the engine knows of a run. Raises RunNotFound."""
        try:
            async with EngineCall(self._connection, "DescribeWorkflowExecution") as client:
                found: WorkflowExecutionDescription = await client.get_workflow_handle(workflow_id(run_id)).describe()
        except NoSuchWorkflow:
            raise _not_found(run_id) from None
        record: RunRecord | None = await found.memo_value(RUN_MEMO, None, type_hint=RunRecord)
        if record is None:
            raise _not_found(run_id)
        ended: RunEnd | None = await found.memo_value(ENDED_MEMO, None, type_hint=RunEnd)
        status, at = found.status, found.close_time
        if status is None or status is WorkflowExecutionStatus.RUNNING or at is None:
            return Described(record, None, None)
        closed = ClosedOutside(status, round(at.timestamp() * 1_000_000) * 1_000, found.run_id)
        return Described(record, ended, None if ended is not None else closed)

    async def started(self, run_id: str) -> StartRun:
        """What a run was started with: it is in the first event of its history. Raises RunNotFound."""
        try:
            async with EngineCall(self._connection, "GetWorkflowExecutionHistory") as client:
                events = client.get_workflow_handle(workflow_id(run_id)).fetch_history_events(page_size=1)
                first = await anext(events)
                payloads = first.workflow_execution_started_event_attributes.input.payloads
                found: list[StartRun] = await client.data_converter.decode(payloads, [StartRun])
        except NoSuchWorkflow:
            raise _not_found(run_id) from None
        return found[0]

    async def result(self, run_id: str) -> RunResult | None:
        """Wait for the end of a run, and return its result; None if it was ended from outside.

        Raises RunNotFound.
        """
        try:
            async with EngineCall(self._connection, "GetWorkflowExecutionHistory", waits=True) as client:
                handle: WorkflowHandle[Any, RunResult] = client.get_workflow_handle(
                    workflow_id(run_id), result_type=RunResult
                )
                return await handle.result()
        except WorkflowFailureError:
            return None
        except NoSuchWorkflow:
            raise _not_found(run_id) from None

    async def cancel(self, run_id: str, request: CancelRequest) -> bool:
        """Have a run cancelled. False if it has ended. Raises RunNotFound."""
        return await self._signal(run_id, CANCEL, request)

    async def announce_nested(self, run_id: str) -> bool:
        """Tell a run that there is one inside it. False if it has ended. Raises RunNotFound."""
        return await self._signal(run_id, NESTED)

    async def split(self, run_id: str, told: ChunkSplit) -> bool:
        """Tell a run that a chunk of it is split. False if the run has ended. Raises RunNotFound."""
        return await self._signal(run_id, SPLIT, told)

    async def open_inside(self, root_id: str) -> dict[str, str | None]:
        """The runs inside a root run that have not ended, and their parents, as far as can be found now."""
        query = f"WorkflowType = '{WORKFLOW}' AND {ROOT.name} = '{root_id}' AND ExecutionStatus = 'Running'"
        found: dict[str, str | None] = {}
        async with EngineCall(self._connection, "ListWorkflowExecutions") as client:
            async for each in client.list_workflows(query, page_size=_PAGE, limit=_PAGE):
                found[run_id_of_workflow(each.id)] = each.typed_search_attributes.get(PARENT)
        return found

    async def count_inside(self, root_id: str) -> int:
        """How many runs inside a root run have not ended, as far as can be found now."""
        query = f"WorkflowType = '{WORKFLOW}' AND {ROOT.name} = '{root_id}' AND ExecutionStatus = 'Running'"
        async with EngineCall(self._connection, "CountWorkflowExecutions") as client:
            return (await client.count_workflows(query)).count

    async def _events(
        self, run_id: str, execution: str | None, page_size: int
    ) -> AsyncGenerator[tuple[Client, HistoryEvent], None]:
        """The history of a run, or of one of its executions, and the client that reads it."""
        try:
            async with EngineCall(self._connection, "GetWorkflowExecutionHistory") as client:
                handle = client.get_workflow_handle(workflow_id(run_id), run_id=execution)
                async for event in handle.fetch_history_events(page_size=page_size):
                    yield client, event
        except NoSuchWorkflow:
            raise _not_found(run_id) from None

    async def _signal(self, run_id: str, name: str, *arguments: object) -> bool:
        try:
            async with EngineCall(self._connection, "SignalWorkflowExecution") as client:
                await client.get_workflow_handle(workflow_id(run_id)).signal(name, args=arguments)
        except NoSuchWorkflow:
            await self.describe(run_id)
            return False
        return True


def found_by(record: RunRecord) -> TypedSearchAttributes:
    """The search attributes of a run."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(RUNS_NAMESPACE, record.namespace),
        SearchAttributePair(FLOW_ID, record.flow_id),
        SearchAttributePair(STATE, RunState.RUNNING.value),
        # A whole millisecond: an index of SQLite rounds to these.
        SearchAttributePair(CREATED, datetime.fromtimestamp(record.created_at // 1_000_000 / 1e3, UTC)),
    ]
    optional = (
        (FLOW_NAME, record.flow_name),
        (FLOW_LABEL, record.flow_label),
        (PARENT, record.parent_id),
        (ROOT, record.root_id),
    )
    pairs += [SearchAttributePair(key, search_text(text)) for key, text in optional if text is not None]
    if record.labels is not None:
        labels = labels_from_json(record.labels)
        pairs.append(SearchAttributePair(LABELS, list(starmap(search_label, labels.items()))))
    return TypedSearchAttributes(pairs)


def _not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"no run has the id '{run_id}'")
