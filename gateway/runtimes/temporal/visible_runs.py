"""What the engine's visibility tells: an index of all workflows, which is a little behind them."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final, NamedTuple

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.model import Nanoseconds
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine import ENDED_MEMO, RUN_MEMO
from gateway.runtimes.temporal.messages import DELETION, RunEnd

PAGE: Final = 256
"""How many workflows one call brings: each comes with its run, which may have long parameters."""


class VisibleRun(NamedTuple):
    """A run as visibility has it.

    It began and was closed, by the engine's clock, at `began_at` and `closed_at`. `ended` is None if it is open, or was
    ended from outside. If it `is_deleted`, this is not the run, but tells so.
    """

    record: RunRecord
    ended: RunEnd | None
    began_at: Nanoseconds
    closed_at: Nanoseconds | None
    is_deleted: bool = False

    @property
    def place(self) -> tuple[Nanoseconds, str]:
        """Where it is in the order of lists."""
        return self.record.created_at, self.record.run_id


class VisibleRuns:
    """Asks visibility. Every method may raise what `EngineCall` does."""

    def __init__(self, connection: TemporalConnection) -> None:
        self._connection = connection

    async def count(self, query: str) -> int:
        """How many workflows a query finds."""
        async with self._connection.engine_call("CountWorkflowExecutions") as client:
            return (await client.count_workflows(query)).count

    async def all(self, query: str) -> AsyncGenerator[list[VisibleRun], None]:
        """Yield all runs that a query finds, in pages and in the engine's order."""
        token: bytes | None = None
        while token is None or token:
            async with self._connection.engine_call("ListWorkflowExecutions") as client:
                found = client.list_workflows(query, page_size=PAGE, next_page_token=token or None)
                await found.fetch_next_page()
            token, pace = found.next_page_token or b"", TimeSlice()
            page = []
            for workflow in found.current_page or ():
                if (run := await _visible_run(workflow)) is not None:
                    page.append(run)
                await pace.checkpoint()
            yield page


async def _visible_run(workflow: WorkflowExecution) -> VisibleRun | None:
    record: RunRecord | None = await workflow.memo_value(RUN_MEMO, None, type_hint=RunRecord)
    if record is None:
        return None
    closed = workflow.close_time
    if workflow.workflow_type == DELETION:
        began_at = _nanoseconds(workflow.start_time)
        return VisibleRun(record, None, began_at, began_at, is_deleted=True)
    if workflow.status is WorkflowExecutionStatus.RUNNING or closed is None:
        return VisibleRun(record, None, _nanoseconds(workflow.start_time), None)
    ended: RunEnd | None = await workflow.memo_value(ENDED_MEMO, None, type_hint=RunEnd)
    return VisibleRun(record, ended, _nanoseconds(workflow.start_time), _nanoseconds(closed))


def _nanoseconds(moment: datetime) -> Nanoseconds:
    return round(moment.timestamp() * 1_000_000) * 1_000
