"""The runs in the engine: each is a workflow."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import starmap
from typing import Any, Final, NamedTuple, TypeVar

from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
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
from gateway.core.errors import RunNotFound, Unavailable
from gateway.core.model import Nanoseconds, RunState
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine_call import EngineCall
from gateway.runtimes.temporal.engine_errors import NoSuchWorkflow
from gateway.runtimes.temporal.messages import (
    CANCEL,
    LEFT,
    NESTED,
    PROGRESS,
    TASK_QUEUE,
    WORKFLOW,
    CancelRequest,
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

_T = TypeVar("_T")

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
                    search_attributes=_search_attributes(start.record),
                )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def progress(self, run_id: str, seen: int) -> RunReport | None:
        """How far a run is, and its results from the place `seen` on; None if it has ended.

        Gateways that execute runs answer this. Raises NoWorker if none does, and RunNotFound.
        """
        try:
            return await self._query(run_id, PROGRESS, RunReport, seen)
        except WorkflowQueryRejectedError:
            return None

    async def last_progress(self, run_id: str, execution: str, seen: int) -> RunReport | None:
        """How far a run was when this execution was closed, as `progress` tells; None if nobody had begun with it."""
        return await self._query_closed(run_id, execution, PROGRESS, RunReport, seen)

    async def left(self, run_id: str, execution: str) -> tuple[tuple[int, int], ...] | None:
        """The items without results, in ranges, as `last_progress` tells."""
        return await self._query_closed(run_id, execution, LEFT, tuple[tuple[int, int], ...])

    async def has_begun(self, run_id: str, execution: str | None = None) -> bool:
        """Whether a gateway has done a step of a run, or of one of its executions. Raises RunNotFound.

        The number of events does not tell: there are some of what the run is told, and of steps that have failed.
        """
        try:
            async with EngineCall(self._connection, "GetWorkflowExecutionHistory") as client:
                handle = client.get_workflow_handle(workflow_id(run_id), run_id=execution)
                async for event in handle.fetch_history_events(page_size=_FIRST_EVENTS):
                    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                        return True
                    started = event.workflow_execution_started_event_attributes
                    if execution is None and started.continued_execution_run_id:
                        return True
        except NoSuchWorkflow:
            raise _not_found(run_id) from None
        return False

    async def first_input(self, run_id: str, execution: str) -> StartRun:
        """What an execution of a run has begun with. Raises RunNotFound."""
        try:
            async with EngineCall(self._connection, "GetWorkflowExecutionHistory") as client:
                handle = client.get_workflow_handle(workflow_id(run_id), run_id=execution)
                event = await anext(handle.fetch_history_events(page_size=1))
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                [start] = await client.data_converter.decode(payloads, [StartRun])
        except NoSuchWorkflow:
            raise _not_found(run_id) from None
        assert isinstance(start, StartRun)
        return start

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

    async def open_inside(self, root_id: str) -> dict[str, str | None]:
        """The runs inside a root run that have not ended, and their parents, as far as can be found now."""
        query = f"{ROOT.name} = '{root_id}' AND ExecutionStatus = 'Running'"
        found: dict[str, str | None] = {}
        async with EngineCall(self._connection, "ListWorkflowExecutions") as client:
            async for each in client.list_workflows(query, page_size=_PAGE, limit=_PAGE):
                found[run_id_of_workflow(each.id)] = each.typed_search_attributes.get(PARENT)
        return found

    async def count_inside(self, root_id: str) -> int:
        """How many runs inside a root run have not ended, as far as can be found now."""
        query = f"{ROOT.name} = '{root_id}' AND ExecutionStatus = 'Running'"
        async with EngineCall(self._connection, "CountWorkflowExecutions") as client:
            return (await client.count_workflows(query)).count

    async def _query_closed(
        self, run_id: str, execution: str, query: str, kind: type[_T], *arguments: object
    ) -> _T | None:
        try:
            return await self._query(run_id, query, kind, *arguments, execution=execution)
        except NoWorker:
            if await self.has_begun(run_id, execution):
                raise
            return None
        except WorkflowQueryFailedError:
            raise NoWorker("no gateway can tell how far the run was", retry_after=1.0) from None

    async def _query(
        self, run_id: str, query: str, kind: type[_T], *arguments: object, execution: str | None = None
    ) -> _T:
        """The answer of a run, or of one of its executions, which may be closed.

        Raises NoWorker if there is none, RunNotFound, and what the SDK does if the run rejects the question.
        """
        reject = QueryRejectCondition.NOT_OPEN if execution is None else QueryRejectCondition.NONE
        try:
            async with EngineCall(self._connection, "QueryWorkflow") as client:
                handle = client.get_workflow_handle(workflow_id(run_id), run_id=execution)
                question = handle.query(query, args=arguments, result_type=kind, reject_condition=reject)
                try:
                    answer: _T = await self._patience.answer(question)
                except TimeoutError:
                    # The engine is there: it waits for somebody who answers.
                    raise NoWorker(_SILENCE, retry_after=1.0) from None
        except NoSuchWorkflow:
            raise _not_found(run_id) from None
        except RPCError as error:
            if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            # No gateway takes questions, or those that did the last step have failed at that. Or nobody has begun.
            raise NoWorker(_SILENCE, retry_after=1.0) from None
        return answer

    async def _signal(self, run_id: str, name: str, *arguments: object) -> bool:
        try:
            async with EngineCall(self._connection, "SignalWorkflowExecution") as client:
                await client.get_workflow_handle(workflow_id(run_id)).signal(name, args=arguments)
        except NoSuchWorkflow:
            await self.describe(run_id)
            return False
        return True


def _search_attributes(record: RunRecord) -> TypedSearchAttributes:
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
