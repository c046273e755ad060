"""Ending one run: cancelling and deleting it."""

import time

from gateway.core.control import CancelParams, DeleteParams
from gateway.core.model import MAX_TIMEOUT, RunStatus
from gateway.core.runtime import Runtime
from gateway.runs.deadlines import waiting_ends
from gateway.runs.ids import checked_run_id


class RunControl:
    """Cancels and deletes the runs of one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def cancel(self, params: CancelParams, *, answer_by: float | None = None) -> RunStatus:
        """Cancel a run and return its status, which is that of before if it had ended.

        With `wait`, that is when nothing of it executes any more, or when time is up: after the timeout of the
        parameters, or at `answer_by`, a value of `time.monotonic()`.
        """
        until = None
        if params.wait:
            until = waiting_ends(params.timeout, answer_by)
            if until is None:
                until = time.monotonic() + MAX_TIMEOUT
        snapshot = await self._runtime.cancel(checked_run_id(params.run_id), params.reason or None, until)
        return snapshot.status

    async def delete(self, params: DeleteParams) -> None:
        """Delete a run. Raises RunNotEnded if it has not ended and the parameters do not say `cancel`."""
        await self._runtime.delete(checked_run_id(params.run_id), cancel=params.cancel)
