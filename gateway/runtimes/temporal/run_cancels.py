"""Cancels runs at the wish of clients."""

import time
from typing import Final

from gateway.core.model import RunState
from gateway.core.runtime import Snapshot
from gateway.runtimes.temporal.engine import Engine, NoWorker
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.messages import CancelRequest
from gateway.runtimes.temporal.run_reader import RunReader

USUAL_SECONDS: Final = 10.0
"""How long a cancel waits for the end if it is not told. Other gateways learn of it within 4 seconds."""

SOON_SECONDS: Final = 1.0
"""After so long, it waits only if somebody is there who ends the run."""


class RunCancels:
    """See the module."""

    def __init__(self, engine: Engine, reader: RunReader, executing: ExecutingRuns) -> None:
        self._engine = engine
        self._reader = reader
        self._executing = executing

    async def cancel(self, run_id: str, reason: str | None, until: float | None) -> Snapshot:
        """Cancel a run, as `Runtime.cancel` does.

        The wish is durable, and the run ends when no gateway executes anything of it any more. That is awaited, in any
        case for a while: what executes here ends at once, and on other gateways when these hear of it. While there are
        none, the state is the one that is known here.
        """
        if not await self._engine.cancel(run_id, CancelRequest(reason)):
            return await self._reader.get(run_id)
        self._executing.cancel(run_id)
        try:
            await self._wait(run_id, until)
            return await self._reader.get(run_id)
        except NoWorker:
            return await self._reader.last_state(run_id)

    async def _wait(self, run_id: str, until: float | None) -> None:
        """Wait for the end. Raises NoWorker if there is nobody who ends the run, and nobody waits for that."""
        if until is None:
            until = time.monotonic() + USUAL_SECONDS
            await self._reader.wait_for_end(run_id, SOON_SECONDS)
            if (await self._reader.get(run_id)).status.status is RunState.PENDING:
                return
        await self._reader.wait_for_end(run_id, max(0.0, until - time.monotonic()))
