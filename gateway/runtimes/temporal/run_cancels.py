"""Cancels runs at the wish of clients."""

import time
from typing import Final

from gateway.core.runtime import Snapshot
from gateway.runtimes.temporal.engine import Engine
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.messages import CancelRequest
from gateway.runtimes.temporal.run_reader import RunReader

USUAL_SECONDS: Final = 10.0
"""How long a cancel waits for the end if it is not told. Other gateways learn of it within 4 seconds."""


class RunCancels:
    """See the module."""

    def __init__(self, engine: Engine, reader: RunReader, executing: ExecutingRuns) -> None:
        self._engine = engine
        self._reader = reader
        self._executing = executing

    async def cancel(self, run_id: str, reason: str | None, until: float | None) -> Snapshot:
        """Cancel a run, as `Runtime.cancel` does.

        The wish is durable, and the run ends when no gateway executes anything of it any more. That is awaited, in any
        case for a while: what executes here ends at once, and on other gateways when these hear of it.
        """
        if await self._engine.cancel(run_id, CancelRequest(reason)):
            self._executing.cancel(run_id)
            seconds = USUAL_SECONDS if until is None else max(0.0, until - time.monotonic())
            await self._reader.wait_for_end(run_id, seconds)
        return await self._reader.get(run_id)
