"""Has the engine forget runs.

The engine deletes a workflow at once if it has been closed for a minute, and else when it comes to it. Until then it
would tell of it, and refuse another one with its id. So another workflow takes its place, which the engine deletes at
once, since it is open: from then on, no workflow has the id.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from gateway.core.errors import RunNotEnded, RunNotFound
from gateway.core.model import Nanoseconds
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.deletion_notices import DeletionNotices
from gateway.runtimes.temporal.engine import RUN_MEMO
from gateway.runtimes.temporal.engine_errors import NoSuchWorkflow
from gateway.runtimes.temporal.messages import DELETED, NOWHERE
from gateway.runtimes.temporal.run_names import workflow_id

_PAGE: Final = 100
"""How many executions of a workflow are looked for at once."""

_STANDS_IN: Final = timedelta(seconds=10)
"""How long a workflow that takes the place of another one is open, if the gateway ends before it is deleted."""


class _LatestExecution(NamedTuple):
    """The latest execution of a workflow. `created_at` is that of its run; None if it has none.

    `stands_in`: it has taken the place of a run that is deleted.
    """

    execution: str
    started: datetime
    created_at: Nanoseconds | None
    is_open: bool
    stands_in: bool


class EngineDeletes:
    """See the module. Every method may raise what `EngineCall` does."""

    def __init__(self, connection: TemporalConnection) -> None:
        self._connection = connection
        self.notices = DeletionNotices(connection)

    async def executions(self, run_id: str, created_at: Nanoseconds) -> list[str]:
        """The executions of the workflow of a run that was accepted at this time, the latest one first.

        Raises RunNotFound, and RunNotEnded if an operator has reset it.
        """
        latest = await self._latest(run_id)
        if latest is None or latest.created_at != created_at:
            raise RunNotFound(f"no run has the id '{run_id}'")
        if latest.is_open:
            raise RunNotEnded(f"the run '{run_id}' has been reset in the engine, and has not ended")
        query = f"WorkflowId = '{workflow_id(run_id)}'"
        async with self._connection.engine_call("ListWorkflowExecutions") as client:
            # Those in which it began anew, or which were reset.
            others = [
                each.run_id
                async for each in client.list_workflows(query, page_size=_PAGE)
                if each.run_id != latest.execution and each.start_time <= latest.started
            ]
        return [latest.execution, *others]

    async def forget(self, run_id: str, executions: list[str]) -> None:
        """Have these executions deleted, the first of which is the latest one. Nobody finds the run from then on."""
        for execution in reversed(executions):
            await self._delete(run_id, execution)
        latest = await self._latest(run_id)
        if latest is not None and latest.execution == executions[0]:
            await self._replace(run_id)

    async def clear(self, run_id: str) -> None:
        """Let the id of a deleted run be free, if the gateway that has deleted it has not come to that."""
        latest = await self._latest(run_id)
        if latest is None or not latest.stands_in:
            return
        if latest.is_open:
            await self._delete(run_id, latest.execution)
        else:
            await self._replace(run_id)

    async def _latest(self, run_id: str) -> _LatestExecution | None:
        try:
            async with self._connection.engine_call("DescribeWorkflowExecution") as client:
                found = await client.get_workflow_handle(workflow_id(run_id)).describe()
        except NoSuchWorkflow:
            return None
        record: RunRecord | None = await found.memo_value(RUN_MEMO, None, type_hint=RunRecord)
        is_open = found.status is WorkflowExecutionStatus.RUNNING
        created_at = None if record is None else record.created_at
        return _LatestExecution(found.run_id, found.start_time, created_at, is_open, found.workflow_type == DELETED)

    async def _delete(self, run_id: str, execution: str) -> None:
        try:
            async with self._connection.engine_call("DeleteWorkflowExecution") as client:
                await client.workflow_service.delete_workflow_execution(
                    DeleteWorkflowExecutionRequest(
                        namespace=client.namespace,
                        workflow_execution=WorkflowExecution(workflow_id=workflow_id(run_id), run_id=execution),
                    )
                )
        except NoSuchWorkflow:
            pass  # It is gone already.

    async def _replace(self, run_id: str) -> None:
        """Let another workflow take the place of one that has ended, and delete that."""
        try:
            async with self._connection.engine_call("StartWorkflowExecution") as client:
                handle = await client.start_workflow(
                    DELETED,
                    id=workflow_id(run_id),
                    task_queue=NOWHERE,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    execution_timeout=_STANDS_IN,
                )
        except WorkflowAlreadyStartedError:
            return  # Another gateway does the same, or a key has made a new run.
        assert handle.first_execution_run_id is not None
        await self._delete(run_id, handle.first_execution_run_id)
