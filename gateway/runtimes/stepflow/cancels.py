"""Cancelling runs of an engine with the runs inside them, which the engine leaves alone."""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.core.errors import RunNotFound
from gateway.core.model import RunState, RunStatus
from gateway.runtimes.stepflow.runs import Runs

CONCURRENT: Final = 16
"""How many runs are cancelled at the same time by one call."""

PAGE: Final = 256
"""How many runs inside another are asked for at once."""

MAX_ROUNDS: Final = 64
"""How often runs that execute inside another are looked for: what the engine still executes may begin more."""


class Cancels:
    """Cancels runs. `ended` is called with the end of each, for those that watch it."""

    def __init__(self, runs: Runs, running: str, ended: Callable[[RunStatus], None]) -> None:
        """`running` is how the engine spells the state of runs that execute."""
        self._runs = runs
        self._running = running
        self._ended = ended

    async def cancel(self, run_id: str, reason: str | None) -> RunStatus:
        """Cancel a run, the runs inside it first, and return its state. Raises RunNotFound."""
        status = await self._runs.read(run_id)
        if not status.status.terminal or status.status is RunState.CANCELLED:
            await self._cancel_inside(run_id, reason)
        if status.status.terminal:
            return status
        status = await self._runs.cancel(run_id, reason)
        self._ended(status)
        # What has been begun in between. Nothing is accepted of this gateway's clients any more.
        await self._cancel_inside(run_id, reason)
        return status

    async def _cancel_inside(self, run_id: str, reason: str | None) -> None:
        seen: set[str] = set()
        for _ in range(MAX_ROUNDS):
            query = f"parentRunId={run_id}&status={self._running}&limit={PAGE}"
            listed = [run.run_id for run in await self._runs.listed(query)]
            found = {*listed, *await self._runs.told.notes.children(run_id)} - seen
            if not found:
                return
            seen |= found
            rest = list(found)
            while rest:
                some, rest = rest[:CONCURRENT], rest[CONCURRENT:]
                outcomes = await asyncio.gather(*(self.cancel(each, reason) for each in some), return_exceptions=True)
                for failure in outcomes:
                    # Of runs that the engine has forgotten, nothing executes.
                    if isinstance(failure, BaseException) and not isinstance(failure, RunNotFound):
                        raise failure
