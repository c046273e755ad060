"""Following a set of runs of the embedded runtime: reading the log of changes on from a position.

A follower is nothing but its position. It first gets the runs that there are, as far as they have not changed since it
began, and then reads the log: from memory while it is near the end, else from the marks of the runs in memory and from
the journal. What has changed several times meanwhile stands in the log once.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from heapq import merge
from typing import Final, TypeAlias

from msgspec.structs import replace

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import NotFound, RunNotFound
from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetChange, SetEvent, SetPart
from gateway.core.runtime import Snapshot
from gateway.flows.run_ids import key_of
from gateway.runtimes.embedded.change_log import RunMark
from gateway.runtimes.embedded.changes import Change, Tombstone
from gateway.runtimes.embedded.ended_run import EndedRun, loaded
from gateway.runtimes.embedded.journal import FoundRun, Journal
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.set_position import CURSOR_BYTES, END, START, SetPosition, Stage

PART: Final = 32
"""How many changes are read from memory, and made, before everything else has a turn."""

_SORTED: Final = 1_024
"""How many marks are sorted at once."""

_BEFORE_END: Final = frozenset({RunState.PENDING, RunState.RUNNING})

_Numbered: TypeAlias = tuple[int, str, RunMark]


class SetReader:
    """Reads a set for one follower. `find` brings a run into memory, as `EmbeddedRuntime` does."""

    def __init__(self, journal: Journal, find: Callable[[str], Awaitable[Run | EndedRun]], wanted: RunFilter) -> None:
        self._journal = journal
        self._log = journal.changes
        self._find = find
        self._wanted = wanted
        self._states = frozenset(wanted.states)
        self._whatever_state = replace(wanted, states=())
        self._digest = wanted.digest()
        self._point = SetPosition(Stage.RUNS, 0, START)
        self._since = 0
        """Up to which number the follower had read when the part that is being made was begun."""

    async def parts(self, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """Yield parts for ever, as `Runtime.watch_set` says."""
        log = self._log
        log.follow()
        try:
            asked_at = log.head
            await log.changed(asked_at - 1)
            restarted = not self._begin(position, asked_at, only_new=only_new)
            caught_up = False
            while True:
                if not caught_up and self._point.stage is Stage.CHANGES and self._point.number >= asked_at:
                    caught_up = True
                    yield SetPart([], self._position(), caught_up=True, restarted=restarted)
                    restarted = False
                listing = self._point.stage is Stage.RUNS
                async with aclosing(self._next()) as following:
                    async for changes in following:
                        if changes:
                            yield SetPart(changes, changes[-1].position, restarted=restarted)
                            restarted = False
                if listing:
                    # What has changed while the runs were listed was left out: it comes before the present is complete.
                    asked_at = log.head
                    await log.changed(asked_at - 1)
        finally:
            log.leave()

    def _begin(self, position: bytes, head: int, *, only_new: bool) -> bool:
        """Find the point to go on after. Return False if the position is not understood, or too old."""
        if not position:
            self._point = SetPosition(Stage.CHANGES, head) if only_new else SetPosition(Stage.RUNS, head, START)
            return True
        found = SetPosition.from_bytes(position, self._digest)
        bound = None if found is None else self._log.bound(found[1])
        if found is not None and bound is not None:
            point, era = found
            # A number beyond that is of a clock that was set back, and none of what has happened since has it.
            point = point._replace(number=min(point.number, bound))
            forgotten = self._journal.forgotten(self._wanted.namespace)
            if point.number >= forgotten and (era != self._log.era or found[0].number <= bound):
                self._point = point
                return True
        self._point = SetPosition(Stage.RUNS, head, START)
        return False

    def _position(self) -> bytes:
        return self._point.to_bytes(self._log.era, self._digest)

    async def _next(self) -> AsyncGenerator[list[SetChange], None]:
        """Yield what follows the point, up to the last change that is settled by now; wait if there is nothing."""
        if self._point.stage is not Stage.CHANGES:
            async for changes in self._list():
                yield changes
            return
        until = await self._log.changed(self._point.number)
        kept_after = self._log.kept_after
        if kept_after is not None and self._point.number >= kept_after:
            yield await self._read_memory(until)
            return
        async for changes in self._catch_up(until):
            yield changes

    async def _list(self) -> AsyncGenerator[list[SetChange], None]:
        """Yield the runs that match and whose last change is not after the point."""
        last = self._point.number
        key = int.from_bytes(self._point.cursor) or None
        async with aclosing(self._journal.search(self._wanted, key, newest_first=False)) as pages:
            async for page in pages:
                for start in range(0, len(page), PART):
                    changes = []
                    for found in page[start : start + PART]:
                        self._point = SetPosition(Stage.RUNS, last, found.key.to_bytes(CURSOR_BYTES))
                        snapshot = await self._unchanged(found, last)
                        if snapshot is not None and self._wanted.matches(snapshot.status):
                            changes.append(self._change(SetEvent.ADDED, snapshot))
                    yield changes
        self._point = SetPosition(Stage.CHANGES, last)
        yield []

    async def _unchanged(self, found: FoundRun, last: int) -> Snapshot | None:
        """The state of a run that is listed; None if it has changed after the number `last`, which will be told."""
        if found.outcome is not None:
            if (found.outcome.changed or key_of(found.record.run_id) or 0) > last:
                return None
            return loaded(found.record, found.outcome, self._journal, 0).snapshot()
        run_id = found.record.run_id
        if run_id not in self._log.marks and not await self._is_there(run_id):
            return None
        mark = self._log.marks.get(run_id)
        return mark.run.snapshot() if mark is not None and mark.run is not None and 0 < mark.number <= last else None

    async def _is_there(self, run_id: str) -> bool:
        """Bring a run of before into memory. Return False if it has gone, or was not accepted."""
        try:
            await self._find(run_id)
        except RunNotFound:
            return False
        except NotFound:
            pass  # Its flow is gone: it does not go on.
        return True

    async def _read_memory(self, until: int) -> list[SetChange]:
        """What follows in memory, up to this number."""
        self._since = self._point.number
        changes: list[SetChange] = []
        kept = self._log.after(self._since, PART)
        for number, mark in kept:
            if number > until:
                break
            if (change := await self._of_mark(number, mark)) is not None:
                changes.append(change)
        if len(kept) < PART or kept[-1][0] > until:
            # While the next change is being written, nothing is settled after this point: reading waits for it.
            self._point = SetPosition(Stage.CHANGES, until)
        return changes

    async def _catch_up(self, until: int) -> AsyncGenerator[list[SetChange], None]:
        """Yield what follows, up to this number, from the journal and the marks of runs."""
        opened = self._log.opened
        if self._point.number < opened:
            async for changes in self._merged(opened - 1, iter(())):
                yield changes
        if self._point.number < opened or (self._point.number == opened and self._point.cursor != END):
            async for changes in self._from_before():
                yield changes
        self._point = SetPosition(Stage.CHANGES, max(self._point.number, opened))
        marks = await self._marks(self._point.number, until)
        async for changes in self._merged(until, marks):
            yield changes

    async def _from_before(self) -> AsyncGenerator[list[SetChange], None]:
        """Yield the runs that had not ended when the state was opened, and have not changed since."""
        opened = self._log.opened
        while True:
            after = int.from_bytes(self._point.cursor) if self._point.number == opened else 0
            page = await self._journal.unfinished(after)
            if not page:
                return
            for start in range(0, len(page), PART):
                self._since, changes = min(self._point.number, opened - 1), []
                for unfinished in page[start : start + PART]:
                    self._point = SetPosition(Stage.CHANGES, opened, unfinished.number.to_bytes(CURSOR_BYTES))
                    if unfinished.run_id in self._log.marks or await self._is_there(unfinished.run_id):
                        mark = self._log.marks.get(unfinished.run_id)
                        if mark is not None and (change := await self._of_mark(opened, mark, move=False)) is not None:
                            changes.append(change)
                yield changes

    async def _marks(self, after: int, until: int) -> Iterator[_Numbered]:
        """The marks between two numbers in their order; those that change meanwhile are told later."""
        marks, pace, parts = list(self._log.marks.values()), TimeSlice(), []
        for start in range(0, len(marks), _SORTED):
            some = [(mark.number, mark.run_id, mark) for mark in marks[start : start + _SORTED]]
            parts.append(sorted(each for each in some if after < each[0] <= until))
            await pace.checkpoint()
        return merge(*parts)

    async def _merged(self, until: int, marks: Iterator[_Numbered]) -> AsyncGenerator[list[SetChange], None]:
        """Yield what the journal tells up to a number, and the marks among it."""
        mark = next(marks, None)
        more = True
        while more:
            page, reached, more = await self._journal.read_changes(self._point.number, until)
            entries: list[Change | _Numbered] = list(page)
            while mark is not None and mark[0] <= reached:
                entries.append(mark)
                mark = next(marks, None)
            entries.sort(key=_number)
            for start in range(0, len(entries), PART):
                self._since, changes = self._point.number, []
                for entry in entries[start : start + PART]:
                    if entry[0] == self._point.number:
                        continue  # A run that has just ended is in memory, too.
                    change = self._told(entry) if isinstance(entry, Change) else await self._of_mark(entry[0], entry[2])
                    if change is not None:
                        changes.append(change)
                yield changes
            self._point = SetPosition(Stage.CHANGES, reached)

    def _told(self, change: Change) -> SetChange | None:
        """What a change in the journal means for the set."""
        self._point = SetPosition(Stage.CHANGES, change.number)
        if isinstance(change.run, Tombstone):
            return self._removed(change.run)
        ended = loaded(*change.run, self._journal, 0)
        return self._event(ended.snapshot(), change.number, key_of(ended.record.run_id) or 0, 0)

    async def _of_mark(self, number: int, mark: RunMark, *, move: bool = True) -> SetChange | None:
        """What the change with a number means for the set; None if the run has changed again, or it means nothing."""
        if move:
            self._point = SetPosition(Stage.CHANGES, number)
        if mark.number != number:
            return None
        if mark.tombstone is not None:
            return self._removed(mark.tombstone)
        run: Run | EndedRun | None = mark.run
        if run is None:
            try:
                run = await self._find(mark.run_id)
            except RunNotFound:
                return None
            if mark.number != number:
                return None
            return self._event(run.snapshot(), number, mark.added or key_of(mark.run_id) or 0, mark.started)
        return self._event(run.snapshot(), number, mark.added, mark.started)

    def _event(self, snapshot: Snapshot, number: int, added: int, started: int) -> SetChange | None:
        """What a run that is now in this state means for the set; 0 stands for numbers that are not known."""
        status = snapshot.status
        if not self._whatever_state.matches(status):
            return None
        state, states, since = status.status, self._states, self._since
        if not states or state in states:
            came = added > since
            if states and not came:
                before = _BEFORE_END
                if started:
                    before = frozenset({RunState.RUNNING if started <= since else RunState.PENDING})
                came = not before & states
            return self._change(SetEvent.ADDED if came else SetEvent.CHANGED, snapshot)
        if state is RunState.PENDING:
            # Before a restart it may have run.
            earlier = frozenset() if added else frozenset({RunState.RUNNING})
        else:
            earlier = frozenset() if added == number else _BEFORE_END - {state}
        return self._change(SetEvent.LEFT, snapshot) if earlier & states else None

    def _removed(self, tombstone: Tombstone) -> SetChange | None:
        """What it means for the set that a run is deleted."""
        if tombstone.complete and not self._whatever_state.matches(tombstone.status()):
            return None
        # Nobody may have been told of its end, if it was deleted soon after.
        if self._states and not self._states & (_BEFORE_END | {tombstone.state}):
            return None
        return SetChange(SetEvent.LEFT, tombstone.run_id, None, 0, self._position())

    def _change(self, event: SetEvent, snapshot: Snapshot) -> SetChange:
        return SetChange(event, snapshot.status.run_id, snapshot.status, snapshot.revision, self._position())


def _number(entry: Change | _Numbered) -> int:
    return entry[0]
