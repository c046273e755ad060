"""What clients are told of runs: the engine's states, with what the gateway keeps, and with one end only.

An engine changes the end of a run: one that is cancelled after it has finished becomes cancelled, and one that is
cancelled while it executes may become completed when its items have ended. The first end that this gateway has told
stays: for runs that it has cancelled in its state, for the others in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from msgspec.structs import replace

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.model import RunState, RunStatus
from gateway.core.owner import Owner
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
        self._submitting: dict[str, set[asyncio.Event]] = {}
        """Submits under way of runs that belong to somebody, by the flow."""

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
        if self._submitting and await self._have_waited(runs, notes):
            notes = await self.notes.of(wanted)
        return [self._told(run, notes) for run in runs]

    async def owner(self, run: RunStatus) -> Owner | None:
        """To whom a run belongs: as it was noted of the run, or of the outermost run that it is inside."""
        return _owner(
            run, await self.notes.of(run_id for run_id in (run.run_id, run.root_run_id) if run_id is not None)
        )

    async def unowned(self, runs: Sequence[RunStatus]) -> list[RunStatus]:
        """Return those of the runs that are not known to belong to anybody."""
        notes = await self.notes.of(run.run_id for run in runs)
        return [run for run in runs if notes.get(run.run_id, _NOTHING).submitted.owner is None]

    @contextmanager
    def submitting(self, flow_id: str, note: SubmitNote | None) -> Iterator[None]:
        """While a run is submitted that belongs to somebody, nobody is told of it: the engine lists it at once."""
        if note is None or note.owner is None:
            yield
            return
        done = asyncio.Event()
        under_way = self._submitting.setdefault(flow_id, set())
        under_way.add(done)
        try:
            yield
        finally:
            under_way.discard(done)
            if not under_way:
                self._submitting.pop(flow_id, None)
            done.set()

    async def submitted(self, run_id: str, note: SubmitNote) -> None:
        """Keep what a run was submitted with that was found later."""
        await self.notes.submitted(run_id, note)
        self._ends.remove(run_id)

    async def _have_waited(self, runs: Iterable[RunStatus], notes: dict[str, RunNote]) -> bool:
        """Wait until it is known to whom runs belong that may just have been submitted. Return False if none may."""
        unknown = [run for run in runs if run.run_id not in notes]
        flows = {run.flow_id for run in unknown}
        if any(run.root_run_id is not None and run.root_run_id not in notes for run in unknown):
            flows.update(self._submitting)  # Of the outermost run, the flow is not told.
        waiting = [done for flow_id in flows & self._submitting.keys() for done in self._submitting[flow_id]]
        for done in waiting:
            await done.wait()
        return bool(waiting)

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
        if (owner := _owner(run, notes)) is not None:
            # One that the engine has begun itself has no note, and the labels that its owner gives all.
            run = replace(run, namespace=owner.namespace, labels=dict(owner.labels))
        run = _with_lineage(_with_note(run, note.submitted), notes)
        if is_settled(run):
            self._ends.put(run.run_id, run)
        return run


def is_settled(run: RunStatus) -> bool:
    """Whether a status is the last one. The counts and the time of a run that has just ended may follow its state."""
    if not run.status.terminal or run.completed_at is None or run.extensions:
        return False
    return run.status is RunState.CANCELLED or not run.items.cancelled


def _owner(run: RunStatus, notes: dict[str, RunNote]) -> Owner | None:
    """To whom a run belongs. Of one that the engine has begun, the outermost run is noted."""
    owner = notes.get(run.run_id, _NOTHING).submitted.owner
    if owner is None and run.root_run_id is not None:
        owner = notes.get(run.root_run_id, _NOTHING).submitted.owner
    return owner


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
