"""Deleting runs of the embedded runtime: from the journal, and from the memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.concurrency.tasks import retrieve_exception
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
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        """Delete a run, as `Runtime.delete` does."""
        run = await self._find(run_id)
        if isinstance(run, EndedRun) or run.finished:
            await self._delete(run_id)
            return
        if not cancel:
            raise RunNotEnded(f"the run '{run_id}' has not ended: cancel it before, or with the same call")
        ending = self._ending.get(run_id)
        if ending is None:
            ending = self._ending[run_id] = asyncio.create_task(self._end(run))
            ending.add_done_callback(lambda _: self._ending.pop(run_id))
            ending.add_done_callback(retrieve_exception)
        await asyncio.shield(ending)

    async def settled(self, run: Run) -> None:
        """Wait until a run that has ended is deleted, if that is why it has ended. Raises RunNotFound if it is."""
        if (ending := self._ending.get(run.record.run_id)) is not None:
            await asyncio.wait([ending])
        if run.deleted:
            raise _unknown(run.record.run_id)

    async def close(self) -> None:
        """Stop deleting runs that are cancelled for it: they stay, cancelled or not."""
        for ending in self._ending.values():
            ending.cancel()
        await asyncio.gather(*self._ending.values(), return_exceptions=True)

    async def _end(self, run: Run) -> None:
        run_id = run.record.run_id
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
