"""Executes items of a run, each to its result."""

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from gateway.core.clock import now
from gateway.core.errors import Unavailable
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.core.model import ItemError, ItemResult, JsonText
from gateway.flows.execution import execute_flow
from gateway.flows.flow import Flow
from gateway.flows.item_results import failed, succeeded
from gateway.flows.item_work import ItemWork
from gateway.flows.run_fields import fields_of
from gateway.flows.run_record import RunRecord
from gateway.flows.task import Host, ItemFailure, Task

RETRY_SECONDS: Final = 1.0
"""How long an item waits before it executes again, when what keeps the runs could not be written."""


class ItemExecution(NamedTuple):
    """What the items of a run execute by."""

    record: RunRecord
    flow: Flow
    variables: Mapping[str, JsonText]
    host: Host

    async def result(self, index: int, text: JsonText, work: ItemWork) -> ItemResult:
        """Execute an item on an input. It fails rather than to raise anything but CancelledError."""
        task = Task(self.record.run_id, self.record.flow_id, index, work)
        while True:
            try:
                value = await execute_flow(self.flow, text, self.variables, self.host, task)
                return succeeded(index, value, now())
            except ItemFailure as failure:
                release_frames(failure)
                return failed(index, failure.error, now())
            except Unavailable as error:
                # The cause is what keeps the runs, not the item: a full disk must not fail items.
                release_frames(error)
                if work.log is not None:
                    work.log.steps.clear()
            except Exception as error:
                internal = error_to_tell(error, partial(fields_of, self.record))
                return failed(index, ItemError(code=internal.jsonrpc_code, message=internal.message), now())
            await work.pause(RETRY_SECONDS)
