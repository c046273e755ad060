"""Deleting runs of the embedded runtime: from the journal, and from the memory."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.core.errors import RunNotEnded, RunNotFound
from gateway.core.runtime import Snapshot
from gateway.runtimes.embedded.ended_run import EndedRun
from gateway.runtimes.embedded.journal import Journal, Outcome, RunRecord
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.runs_in_memory import RunsInMemory

REASON: Final = "it is deleted"
"""Why a run is cancelled that is deleted."""


class Deleting:
    """Deletes runs that have ended. `find` brings a run into memory, and `cancel` ends one."""

    def __init__(
        self,
        journal: Journal,
        table: RunsInMemory,
        find: Callable[[str], Awaitable[Run | EndedRun]],
        cancel: Callable[[str, str], Awaitable[Snapshot]],
    ) -> None:
        self._journal = journal
        self._table = table
        self._find = find
        self._cancel = cancel

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        """Delete a run, as `Runtime.delete` does."""
        run = await self._find(run_id)
        if not run.snapshot().terminal:
            if not cancel:
                raise RunNotEnded(f"the run '{run_id}' has not ended: cancel it before, or with the same call")
            await self._cancel(run_id, REASON)
        kept = await self._journal.load(run_id)
        if kept is None or kept[1] is None or not await self.delete_ended([(kept[0], kept[1])]):
            raise RunNotFound(f"no run has the id '{run_id}'")

    async def delete_ended(self, runs: Sequence[tuple[RunRecord, Outcome]]) -> int:
        """Delete some runs that have ended. Return how many of them there were."""
        deleted = await self._journal.delete(runs)
        self._table.forget(deleted)
        return len(deleted)
