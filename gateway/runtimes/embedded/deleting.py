"""Deleting runs of the embedded runtime: from the journal, and from the memory."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from gateway.concurrency.single_flight import SingleFlight
from gateway.core.errors import RunNotEnded, RunNotFound
from gateway.core.runtime import Snapshot
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.ended_run import EndedRun
from gateway.runtimes.embedded.journal import Journal
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
        self._endings = SingleFlight(self._end)

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        """Delete a run, as `Runtime.delete` does."""
        run = await self._find(run_id)
        if isinstance(run, EndedRun) or run.finished:
            await self._delete(run_id)
            return
        if not cancel:
            raise RunNotEnded(f"the run '{run_id}' has not ended: cancel it before, or with the same call")
        await self._endings.get(run_id, run)

    async def settled(self, run: Run) -> None:
        """Wait until a run that has ended is deleted, if that is why it has ended. Raises RunNotFound if it is."""
        if run.record.run_id in self._endings:
            with suppress(Exception):  # Who deletes it is told.
                await self._endings.get(run.record.run_id, run)
        if run.deleted:
            raise _unknown(run.record.run_id)

    async def close(self) -> None:
        """Stop deleting runs that are cancelled for it: they stay, cancelled or not."""
        await self._endings.close()

    async def _end(self, run_id: str, run: Run) -> None:
        await self._cancel(run_id, REASON)
        await self._delete(run_id)
        run.deleted = True

    async def _delete(self, run_id: str) -> None:
        kept = await self._journal.load(run_id)
        if kept is None or kept[1] is None or not await self.delete_ended([(kept[0], kept[1])]):
            raise _unknown(run_id)

    async def delete_ended(self, runs: Sequence[tuple[RunRecord, Outcome]]) -> int:
        """Delete some runs that have ended. Return how many of them there were."""
        deleted = await self._journal.delete(runs)
        self._table.forget(deleted)
        return len(deleted)


def _unknown(run_id: str) -> RunNotFound:
    return RunNotFound(f"no run has the id '{run_id}'")
