"""Tells all gateways that a run is deleted, for those who follow a set that it is in: the index tells nobody.

A notice is a workflow that nobody executes. It is over after a second, and found as the run was; it goes with the
retention of the engine. It has nothing of the run but what it is found by.
"""

from datetime import timedelta
from typing import Final

from msgspec.structs import replace
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine import RUN_MEMO, found_by
from gateway.runtimes.temporal.messages import DELETION, NOWHERE

_OPEN: Final = timedelta(seconds=1)


class DeletionNotices:
    """See the module."""

    def __init__(self, connection: TemporalConnection) -> None:
        self._connection = connection

    async def put(self, record: RunRecord) -> None:
        """Tell that a run is deleted. May raise what `EngineCall` does."""
        bare = replace(record, variables="{}", overrides=None, observability=None, key=None, fingerprint="", scope="")
        try:
            async with self._connection.engine_call("StartWorkflowExecution") as client:
                await client.start_workflow(
                    DELETION,
                    id=f"deleted-{record.run_id}-{record.created_at}",
                    task_queue=NOWHERE,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    execution_timeout=_OPEN,
                    memo={RUN_MEMO: bare},
                    search_attributes=found_by(record),
                )
        except WorkflowAlreadyStartedError:
            pass  # Somebody else deletes it as well.
