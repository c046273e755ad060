"""What clients are told of runs: the engine's states, with what the gateway keeps, and with one end only.

An engine changes the end of a run: one that is cancelled after it has finished becomes cancelled, and one that is
cancelled while it executes may become completed when its items have ended. The first end that this gateway has told
stays: for runs that it has cancelled in its state, for the others in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from msgspec.structs import replace

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.model import RunState, RunStatus
from gateway.storage.run_notes import RunNote, RunNotes, SubmitNote

TOLD_ENDS: Final = 10_000
"""How many ends are remembered in memory; beyond it, those that were told first are forgotten."""

_NOTHING: Final = RunNote()


class ToldRuns:
    """Adds to the engine's statuses what `notes` hold, and remembers ends."""

    def __init__(self, notes: RunNotes) -> None:
        self.notes = notes
        self._ends: BoundedCache[str, RunStatus] = BoundedCache(TOLD_ENDS)
        self._cancelling: dict[str, asyncio.Event] = {}

    async def told(self, run: RunStatus) -> RunStatus:
        """Return what clients are told of a run that the engine shows like this."""
        return (await self.all_told([run]))[0]

    async def all_told(self, runs: Sequence[RunStatus]) -> list[RunStatus]:
        """Return what clients are told of runs that the engine shows like this."""
        for run in runs:
            if run.status is RunState.CANCELLED and (done := self._cancelling.get(run.run_id)) is not None:
                await done.wait()
        wanted = {run_id for run in runs for run_id in (run.run_id, run.root_run_id) if run_id is not None}
        notes = await self.notes.of(wanted)
        return [self._told(run, notes) for run in runs]

    async def is_cancelled(self, run_id: str) -> bool:
        """Whether it is known that a run was cancelled."""
        end = self._ends.get(run_id) or (await self.notes.of([run_id])).get(run_id, _NOTHING).ended
        return end is not None and end.status is RunState.CANCELLED

    async def is_kept(self, run_id: str) -> bool:
        """Whether the end of a run is in the state: a call of this gateway has reached it, and was not cut off."""
        note = (await self.notes.of([run_id])).get(run_id, _NOTHING)
        return note.ended is not None

    @asynccontextmanager
    async def cancelling(self, run_id: str) -> AsyncIterator[None]:
        """While a run is being cancelled, nobody is told that it is: the reason is not known yet, nor durable."""
        done = self._cancelling.setdefault(run_id, asyncio.Event())
        try:
            yield
        finally:
            if self._cancelling.get(run_id) is done:
                del self._cancelling[run_id]
            done.set()

    async def ended(self, run: RunStatus) -> RunStatus:
        """Keep the end that a run has reached by a call of this gateway; return the one that clients are told."""
        told = await self.notes.ended(self._ends.get(run.run_id) or run)
        self._ends.put(run.run_id, told)
        return told

    def _told(self, run: RunStatus, notes: dict[str, RunNote]) -> RunStatus:
        if (end := self._ends.get(run.run_id)) is not None:
            return end
        note = notes.get(run.run_id, _NOTHING)
        if note.ended is not None:
            return note.ended
        run = _with_lineage(_with_note(run, note.submitted), notes)
        if is_settled(run):
            self._ends.put(run.run_id, run)
        return run


def is_settled(run: RunStatus) -> bool:
    """Whether a status is the last one. The counts and the time of a run that has just ended may follow its state."""
    if not run.status.terminal or run.completed_at is None or run.extensions:
        return False
    return run.status is RunState.CANCELLED or not run.items.cancelled


def _with_note(run: RunStatus, note: SubmitNote) -> RunStatus:
    if note == _NOTHING.submitted:
        return run
    run = replace(run, flow_label=note.flow_label, labels=note.labels)
    if note.parent_run_id is None or run.parent_run_id is not None:
        return run
    return replace(run, parent_run_id=note.parent_run_id, root_run_id=note.root_run_id, depth=note.depth)


def _with_lineage(run: RunStatus, notes: dict[str, RunNote]) -> RunStatus:
    """The engine does not know that what is the outermost run to it is inside another one."""
    outer = None if run.root_run_id is None else notes.get(run.root_run_id)
    if outer is None or outer.submitted.root_run_id is None:
        return run
    return replace(run, root_run_id=outer.submitted.root_run_id, depth=run.depth + outer.submitted.depth)
