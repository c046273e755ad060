"""Cancelling runs of an engine with the runs inside them, which the engine leaves alone."""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.core.control import reason_inside
from gateway.core.errors import RunNotFound
from gateway.core.model import RunState, RunStatus
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.wire_format import WireFormat

CONCURRENT: Final = 16
"""How many runs are cancelled at the same time by one call."""

PAGE: Final = 256
MAX_CANCELLED: Final = 10_000
"""How many runs inside another are asked for at once, and how many of those that an earlier call has cancelled: what is
inside these may be left."""

MAX_ROUNDS: Final = 64
"""How often runs that execute inside another are looked for: what the engine still executes may begin more."""


class Cancels:
    """Cancels runs. `ended` is called with the end of each, for those that watch it."""

    def __init__(self, runs: Runs, wire_format: WireFormat, ended: Callable[[RunStatus], None]) -> None:
        self._runs = runs
        self._wire_format = wire_format
        self._ended = ended

    async def cancel(self, run_id: str, reason: str | None) -> RunStatus:
        """Cancel a run, and return its state; the runs inside it end first. Raises RunNotFound."""
        return await self._cancel(run_id, reason, reason_inside(run_id, reason))

    async def _cancel(self, run_id: str, reason: str | None, inner_reason: str) -> RunStatus:
        async def inside() -> None:
            await self._cancel_inside(run_id, inner_reason, self._wire_format.running)

        before = await self._runs.read(run_id)
        if before.status is RunState.CANCELLED and not await self._runs.told.is_kept(run_id):
            # It was cancelled elsewhere, or by a call that was cut off before it had cancelled all runs inside.
            await inside()
            await self._cancel_inside(run_id, inner_reason, self._wire_format.cancelled)
            return await self._runs.told.ended(before)
        if before.status.terminal:
            return before
        end = await self._runs.cancel(run_id, reason, inside)
        self._ended(end)
        return end

    async def _cancel_inside(self, run_id: str, reason: str, state: str) -> None:
        """Cancel the runs inside a run that are in a state, as the engine spells it, and those that were noted."""
        seen: set[str] = set()
        for _ in range(MAX_ROUNDS):
            limit = MAX_CANCELLED if state == self._wire_format.cancelled else PAGE
            query = f"parentRunId={run_id}&status={state}&limit={limit}"
            listed = [run.run_id for run in await self._runs.listed(query)]
            found = {*listed, *await self._runs.told.notes.children(run_id)} - seen
            if not found:
                return
            seen |= found
            rest = list(found)
            while rest:
                some, rest = rest[:CONCURRENT], rest[CONCURRENT:]
                outcomes = await asyncio.gather(
                    *(self._cancel(each, reason, reason) for each in some), return_exceptions=True
                )
                for failure in outcomes:
                    # Of runs that the engine has forgotten, nothing executes.
                    if isinstance(failure, BaseException) and not isinstance(failure, RunNotFound):
                        raise failure
