"""Follows a set in the engine for all of its followers on this gateway: one poll of visibility at a time.

What has begun or ended is found by visibility. How far runs are that have not ended is asked for, in turn, a few at
each poll.
"""

import asyncio
import time
from collections import OrderedDict, deque
from contextlib import aclosing, suppress
from itertools import islice
from typing import Final, NamedTuple

from msgspec.structs import replace

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import GatewayError, RunNotFound, Unavailable
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import RunStatus
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetChange, SetEvent
from gateway.core.runtime import Snapshot
from gateway.runtimes.temporal.question_budget import QuestionBudget
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.runtimes.temporal.run_states import accepted, ended_view
from gateway.runtimes.temporal.set_point import MAX_MARKS, SetPoint, run_mark, state_mark
from gateway.runtimes.temporal.visibility_query import MILLISECOND, changed_since, visibility_query
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns

LATE_MS: Final = 30_000
"""How late visibility may tell of something, and how much clocks may differ, together."""

CLOSED_MS: Final = 15_000
"""How much later than its end the engine may close a run."""

FASTEST: Final = 0.1
SLOWEST: Final = 1.0
"""Seconds between polls: the fewest while the set changes, more and more while it does not."""

_LONGEST: Final = 10.0
"""A pause is as long as a poll takes, but not longer."""

ASKED: Final = 16
"""How many runs are asked for together."""

KEPT: Final = 16_384
"""How many changes are kept for followers."""


class NotedRun(NamedTuple):
    """What was told last of a run, or would have been: it is `inside` the set, or outside."""

    status: RunStatus
    revision: int
    inside: bool
    mark: bytes
    state: bytes


class SetPoller:
    """See the module. Its changes have numbers that grow, also from one gateway to the next."""

    def __init__(self, visible: VisibleRuns, reader: RunReader, budget: QuestionBudget, wanted: RunFilter) -> None:
        self.wanted = wanted
        self.digest = wanted.digest()
        self.whatever_state = replace(wanted, states=())
        self.query = visibility_query(self.whatever_state)
        self.changes: deque[SetChange] = deque(maxlen=KEPT)
        self.count = 0
        """How many changes there have been."""
        self.polls = 0
        """How many polls have begun and are done."""
        self.since = 0
        """What had happened by then, by the clock of the engine, is known: in milliseconds."""
        self.failure: GatewayError | None = None
        self.readers = 0
        self._known: OrderedDict[str, NotedRun] = OrderedDict()
        """The runs that have not ended, or not long ago; those that have changed last are the last ones."""
        self._turn: OrderedDict[str, VisibleRun] = OrderedDict()
        """The runs that are to be asked again."""
        self._hurry = asyncio.Event()
        self._number = 0
        self._position: tuple[int, int, bytes] | None = None
        self._visible = visible
        self._reader = reader
        self._budget = budget

    async def run(self) -> None:
        """Poll for ever."""
        pace = FASTEST
        while True:
            count, begun = self.count, time.time_ns()
            self._hurry.clear()
            try:
                await self._poll(begun // MILLISECOND - LATE_MS)
                self.failure = None
                self.polls += 1
                pace = FASTEST if self.count != count else min(pace * 1.5, SLOWEST)
            except Exception as failure:
                self.failure, pace = error_to_tell(failure), SLOWEST
            taken = (time.time_ns() - begun) / 1e9
            await asyncio.sleep(max(self._budget.pause(FASTEST), min(taken, _LONGEST)))
            with suppress(TimeoutError):
                async with asyncio.timeout(pace):
                    await self._hurry.wait()

    def hurry(self) -> None:
        """Poll soon: somebody waits for it."""
        self._hurry.set()

    def position(self, number: int = 0) -> bytes:
        """The point after all changes; it comes after the number of an earlier one."""
        if self._position is None or self._position[:2] != (self.count, self.since) or self._number <= number:
            self._number = max(self._number + 1, number + 1, time.time_ns())
            last = islice(reversed(self._known.values()), MAX_MARKS)
            marks = {run.mark: run.state for run in reversed(list(last))}
            point = SetPoint(False, self._number, 0, self.since, marks)
            self._position = self.count, self.since, point.to_bytes(self.digest)
        return self._position[2]

    async def states(self, runs: list[VisibleRun]) -> list[Snapshot | None]:
        """The states of runs, which are noted; None for those that are not there, or of which nothing is known."""
        found = await asyncio.gather(*map(self._state, runs))
        return [self._noted(run, state) for run, state in zip(runs, found, strict=True)]

    def matching(self, page: list[VisibleRun]) -> list[VisibleRun]:
        """Those of a page that match, whatever their state is."""
        return [run for run in page if self.whatever_state.matches(accepted(run.record))]

    async def _poll(self, until: int) -> None:
        """Look for what is new, and note that all is known until a millisecond."""
        condition = changed_since(self.since)
        if not self.polls:
            condition = f"(ExecutionStatus = 'Running' OR {changed_since(until)})"
        pace = TimeSlice()
        async with aclosing(self._visible.all(f"{self.query} AND {condition}")) as pages:
            async for page in pages:
                await self._page(page, pace)
        recent = [VisibleRun(run, None, 0, None) for run in self._reader.recent.created(0, 1 << 63)]
        await self._page(recent, pace)
        await self.states([self._turn.popitem(last=False)[1] for _ in range(self._budget.take(len(self._turn)))])
        self.since = max(self.since, until)
        for run_id, run in list(self._known.items()):
            await pace.checkpoint()
            if run.status.completed_at is not None and not self._may_change(run.status):
                del self._known[run_id]

    async def _page(self, page: list[VisibleRun], pace: TimeSlice) -> None:
        """Find the states of runs that are new, or have ended."""
        new = []
        for run in page:
            await pace.checkpoint()
            known = self._known.get(run.record.run_id)
            if known is None or (run.closed_at is not None and known.status.completed_at is None):
                new.append(run)
        new = self.matching(new)
        for start in range(0, len(new), ASKED):
            await self.states(new[start : start + ASKED])

    async def _state(self, run: VisibleRun) -> Snapshot | Unavailable | None:
        """The state of a run; None if it is not there."""
        if run.ended is not None:
            return ended_view(run).snapshot()
        async with self._budget.places:
            try:
                return await self._reader.get(run.record.run_id)
            except RunNotFound:
                return None
            except Unavailable as failure:
                return failure

    def _noted(self, run: VisibleRun, state: Snapshot | Unavailable | None) -> Snapshot | None:
        run_id = run.record.run_id
        if state is None:
            self._turn.pop(run_id, None)
            before = self._known.pop(run_id, None)
            if before is not None and before.inside:
                self._tell(SetEvent.LEFT, run_id, None, 0)
            return None
        if isinstance(state, Unavailable):
            view = self._reader.known(run_id)
            if view is None:
                self._turn[run_id] = run
                return None
            state = view.snapshot()
        if state.terminal:
            self._turn.pop(run_id, None)
        else:
            self._turn[run_id] = run
        self._note(state)
        return state

    def _note(self, state: Snapshot) -> None:
        """Tell what a state means for the set, if it is news."""
        status, run_id = state.status, state.status.run_id
        before = self._known.get(run_id)
        if before is None:
            if not self._may_change(status):
                return
        elif before.status == status or before.revision >= state.revision or before.status.completed_at is not None:
            return
        inside = self.wanted.matches(status)
        mark = state_mark(status, inside=inside)
        self._known[run_id] = NotedRun(status, state.revision, inside, run_mark(run_id), mark)
        self._known.move_to_end(run_id)
        was = before is not None and before.inside
        if was or inside:
            event = SetEvent.LEFT if not inside else SetEvent.CHANGED if was else SetEvent.ADDED
            self._tell(event, run_id, status, state.revision)

    def _may_change(self, status: RunStatus) -> bool:
        """Whether a run is open, or has ended so late that the next poll finds it again."""
        return status.completed_at is None or status.completed_at // MILLISECOND >= self.since - CLOSED_MS

    def _tell(self, event: SetEvent, run_id: str, status: RunStatus | None, revision: int) -> None:
        self.count += 1
        self.changes.append(SetChange(event, run_id, status, revision, self.position()))

    def after(self, count: int, most: int) -> list[SetChange] | None:
        """The changes after so many of them; None if they are not kept any more."""
        first = self.count - len(self.changes)
        return list(islice(self.changes, count - first, count - first + most)) if count >= first else None
