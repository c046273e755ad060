"""Follows a set in the engine for all of its followers on this gateway: one poll of visibility at a time.

What has begun or ended is found by visibility. How far runs are that have not ended is asked for, in turn, a few at
each poll.
"""

import asyncio
import secrets
import time
from bisect import bisect_right
from collections import deque
from contextlib import aclosing
from itertools import islice
from typing import Final

from msgspec.structs import replace

from gateway.concurrency.time_slice import TimeSlice, in_slices
from gateway.core.errors import GatewayError
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetChange, SetEvent
from gateway.core.runtime import Snapshot
from gateway.core.time_away import TimeAway, passes
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.asked_runs import AskedRuns
from gateway.runtimes.temporal.known_runs import CLOSED_MS, KnownRuns, NotedRun, noted, noted_as_deleted
from gateway.runtimes.temporal.question_budget import QuestionBudget
from gateway.runtimes.temporal.run_reader import PATIENCE, RunReader
from gateway.runtimes.temporal.run_states import accepted, ended_view
from gateway.runtimes.temporal.run_view import RunView
from gateway.runtimes.temporal.set_point import SetPoint, step_key
from gateway.runtimes.temporal.visibility_query import MILLISECOND, changed_since, visibility_query
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns

LATE_MS: Final = 30_000
"""How late visibility may tell of something, and how much clocks may differ, together."""

SOON_MS: Final = 5_000
"""How late it usually tells, at most: what comes later is found when it is looked for thoroughly."""

THOROUGH_SECONDS: Final = 10.0
"""How often it is looked thoroughly."""

FASTEST: Final = 0.1
SLOWEST: Final = 1.0
"""Seconds between polls: the fewest while the set changes, more and more while it does not."""

_LONGEST: Final = 10.0
"""A pause is as long as a poll takes, but not longer."""

KEPT: Final = 4_096
"""How many changes are kept for followers."""


class SetPoller:
    """See the module. Its changes have numbers that grow, also from one gateway to the next."""

    def __init__(self, visible: VisibleRuns, reader: RunReader, budget: QuestionBudget, wanted: RunFilter) -> None:
        self.wanted = wanted
        self.digest = wanted.digest()
        self.whatever_state = replace(wanted, states=())
        self.query = visibility_query(self.whatever_state, deletions=True)
        self.known = KnownRuns()
        self.open = AskedRuns(reader, budget)
        self.origin = secrets.randbelow((1 << 64) - 1) + 1
        self.changes: deque[SetChange] = deque(maxlen=KEPT)
        self.count = 0
        """How many changes there have been."""
        self.polls = 0
        """How many polls have begun and are done."""
        self.failure: GatewayError | None = None
        """Why polls have failed for so long that nobody is to wait any more."""
        self.readers = 0
        self.moved = asyncio.get_running_loop().create_future()
        """Is done when the next poll is."""
        self._hurry = asyncio.Event()
        self._number = 0
        self._position: tuple[tuple[int, int, tuple[int, ...]], bytes] | None = None
        self._begun = 0
        self._thorough = 0.0
        self._looked = 0.0
        self._visible = visible
        self._reader = reader
        self._budget = budget

    async def run(self) -> None:
        """Poll for ever."""
        pace, patience = FASTEST, TimeAway(PATIENCE)
        while True:
            count, begun = self.count, time.monotonic()
            self._hurry.clear()
            try:
                await self._poll()
                self.failure = None
                self.polls += 1
                pace = FASTEST if self.count != count else min(pace * 1.5, SLOWEST)
            except Exception as failure:
                error, pace = error_to_tell(failure), SLOWEST
                self.failure = None if passes(error) and patience.failure() else error
            else:
                patience.success()
            self.wake()
            await asyncio.sleep(max(self._budget.pause(FASTEST), min(time.monotonic() - begun, _LONGEST)))
            try:
                async with asyncio.timeout(pace):
                    await self._hurry.wait()
            except TimeoutError:
                pass

    def wake(self) -> None:
        """Let followers look for what is new."""
        moved, self.moved = self.moved, asyncio.get_running_loop().create_future()
        moved.set_result(None)

    def hurry(self) -> None:
        """Poll soon: somebody waits for it."""
        self._hurry.set()

    def number(self, after: int = 0) -> int:
        """The next number of a point, which comes after all of before and `after`."""
        self._number = max(self._number + 1, after + 1, time.time_ns())
        return self._number

    def position(self, after: int = 0) -> bytes:
        """The point after all changes; its number is above `after`, that of an earlier point."""
        told = self.count, self.known.since, tuple(self.known.sums)
        if self._position is None or self._position[0] != told or self._number <= after:
            point = SetPoint(False, self.number(after), step_key(0, self.origin), *told[1:])
            self._position = told, point.to_bytes(self.digest)
        return self._position[1]

    def after(self, count: int, most: int) -> list[SetChange] | None:
        """The changes after so many of them; None if they are not kept any more."""
        first = self.count - len(self.changes)
        return list(islice(self.changes, count - first, count - first + most)) if count >= first else None

    def told_before(self, position: bytes) -> int | None:
        """How many changes this poller had told up to a position of its own; None if it keeps none of before."""
        first = self.count - len(self.changes)
        if first and position < self.changes[0].position:
            return None
        return first + bisect_right(self.changes, position, key=_position_of)

    def matching(self, page: list[VisibleRun]) -> list[VisibleRun]:
        """Those of a page that match, whatever their state is."""
        return [run for run in page if self.whatever_state.matches(accepted(run.record))]

    def state(self, run: VisibleRun) -> Snapshot:
        """The state of a run that was found, as far as it is known without asking."""
        known = self.known.get(run.record.run_id)
        if run.ended is not None:
            return ended_view(run).snapshot()
        if known is not None and known.status is not None and known.created_at == run.record.created_at:
            return Snapshot(known.status, known.revision, 0, 0)
        view = self._reader.known(run.record.run_id)
        return likely(run.record) if view is None else view.snapshot()

    async def _poll(self) -> None:
        """Look for what is new."""
        begun, started = time.time_ns() // MILLISECOND, time.monotonic()
        until = begun - LATE_MS - CLOSED_MS
        thorough = started - self._thorough >= THOROUGH_SECONDS
        if not self.polls:
            self.known.begin(until)
            condition = f"(ExecutionStatus = 'Running' OR {changed_since(until)})"
        else:
            low = self.known.since if thorough else max(self.known.since, min(self._begun, begun) - SOON_MS)
            condition = changed_since(low)
        pace = TimeSlice()
        async with aclosing(self._visible.all(f"{self.query} AND {condition}")) as pages:
            async for page in pages:
                await self._page(page, pace)
        await self._look_here(started, pace)
        for run_id, state in await self.open.ask():
            self._answered(run_id, state)
        self._begun = begun
        if thorough or not self.polls:
            self._thorough = started
            await in_slices(self.known.advance(until), pace)

    async def _page(self, page: list[VisibleRun], pace: TimeSlice) -> None:
        """Note the runs that are new, or have ended."""
        for run in page:
            await pace.checkpoint()
            run_id, closed = run.record.run_id, run.closed_at is not None
            known = self.known.get(run_id)
            if known is not None and not _may_be_news(known, run):
                continue
            if run.is_deleted:
                self._deleted(run)
            elif self.whatever_state.matches(accepted(run.record)):
                if closed and run.ended is None:
                    self.open.add(run_id)
                if known is None or run.ended is not None or not closed:
                    self._note(self.state(run))

    async def _look_here(self, started: float, pace: TimeSlice) -> None:
        """Note what has happened on this gateway: visibility may not know it yet."""
        for record in self._reader.recent.changed_since(self._looked):
            await pace.checkpoint()
            view = self._reader.known(record.run_id)
            if view is not None and self.whatever_state.matches(accepted(record)):
                self._note(view.snapshot())
        self._looked = started

    def _answered(self, run_id: str, state: Snapshot | None) -> None:
        if state is not None:
            self._note(state)
            return
        self.open.remove(run_id)
        before = self.known.get(run_id)
        if before is not None:
            # It stays known, as deleted: the index may have it for a minute, and tell of it before it has the notice.
            self.known.note(noted_as_deleted(run_id, before.created_at, time.time_ns() // MILLISECOND))
            if before.inside:
                self._tell(SetEvent.LEFT, run_id, None)

    def _deleted(self, run: VisibleRun) -> None:
        """A run is deleted, which is told even if it is not known: a follower may know it."""
        record = run.record
        if self.whatever_state.matches(accepted(record)):
            before = self.known.get(record.run_id)
            self.open.remove(record.run_id)
            self.known.note(noted_as_deleted(record.run_id, record.created_at, run.began_at // MILLISECOND))
            if before is None or before.inside:
                self._tell(SetEvent.LEFT, record.run_id, None)

    def is_deleted(self, record: RunRecord) -> bool:
        """Whether a run is known to be deleted: the index may have it for a while."""
        known = self.known.get(record.run_id)
        return known is not None and known.status is None and known.created_at >= record.created_at

    def _note(self, state: Snapshot) -> None:
        """Note a state, and tell what it means for the set if it is news."""
        status = state.status
        before = self.known.get(status.run_id)
        if before is not None and not _is_news(before, state):
            return
        if state.terminal:
            self.open.remove(status.run_id)
        else:
            self.open.add(status.run_id)
        inside = self.wanted.matches(status)
        self.known.note(noted(status, state.revision, inside=inside))
        was = before is not None and before.inside
        if was or inside:
            event = SetEvent.LEFT if not inside else SetEvent.CHANGED if was else SetEvent.ADDED
            self._tell(event, status.run_id, state)

    def _tell(self, event: SetEvent, run_id: str, state: Snapshot | None) -> None:
        self.count += 1
        status, revision = (None, 0) if state is None else (state.status, state.revision)
        self.changes.append(SetChange(event, run_id, status, revision, self.position()))


def likely(record: RunRecord) -> Snapshot:
    """What is told of a run that is open, and has not been asked: lists tell the same."""
    state = RunView(record).snapshot()
    return replace(state, status=replace(state.status, status=RunState.RUNNING))


def _may_be_news(known: NotedRun, run: VisibleRun) -> bool:
    if known.created_at != run.record.created_at:
        return known.created_at < run.record.created_at
    return known.status is not None and (run.is_deleted or (known.ended_at is None and run.closed_at is not None))


def _is_news(before: NotedRun, state: Snapshot) -> bool:
    status = state.status
    if before.created_at != status.created_at:
        return before.created_at < status.created_at  # A key has made it anew.
    if before.ended_at is not None or state.revision < before.revision:
        return False
    return state.revision > before.revision or before.status != status


def _position_of(change: SetChange) -> bytes:
    return change.position
