"""Brings a follower of a set from where it was to what the poller of the set knows."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import RunNotFound
from gateway.core.model import RunState
from gateway.core.run_filter import RunOrder
from gateway.core.run_sets import SetChange, SetEvent, SetPart
from gateway.core.runtime import Snapshot
from gateway.runtimes.temporal.known_runs import MODULUS, NotedRun, bucket_of, is_likely, noted, noted_as_deleted
from gateway.runtimes.temporal.question_budget import QuestionBudget
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.runtimes.temporal.run_windows import FIRST_WIDTH, run_windows
from gateway.runtimes.temporal.set_point import BUCKETS, SetPoint, run_key, step_key
from gateway.runtimes.temporal.set_poller import SetPoller
from gateway.runtimes.temporal.visibility_query import MILLISECOND, closed_between
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns

PART: Final = 16
"""How many changes come together."""

AHEAD: Final = 60_000
"""How far the clocks of gateways may be ahead of this one's, in milliseconds."""

MOST_OLDER: Final = 2_048
"""How many runs that the poller does not know are compared at most. If there are more, all of them are told."""

_OPEN: Final = frozenset({RunState.PENDING, RunState.RUNNING})


class CatchingUp:
    """Goes on after `point`; None is the beginning."""

    def __init__(
        self,
        visible: VisibleRuns,
        reader: RunReader,
        budget: QuestionBudget,
        poller: SetPoller,
        point: SetPoint | None,
    ) -> None:
        self.point = point or SetPoint(True, 0, 0, poller.known.since, (0,) * BUCKETS)
        """Where the follower is."""
        self.known_at = [poller.count] * BUCKETS
        """How many changes of the poller the follower knows, in each bucket."""
        self.told: dict[str, tuple[int, int]] = {}
        """When the runs were created that were told meanwhile, and their revisions."""
        self._visible = visible
        self._reader = reader
        self._budget = budget
        self._poller = poller
        self._begins = point is None
        self._from = self.point
        self._sums = list(self.point.sums)

    async def parts(self) -> AsyncGenerator[SetPart, None]:
        """Yield what is new for the follower. After an error, another one can go on after `point`."""
        if self.point.listing:
            async with aclosing(self._list()) as parts:
                async for part in parts:
                    yield part
            self._to_changes(0)
        if not self._begins:
            async with aclosing(self._compare()) as parts:
                async for part in parts:
                    yield part

    async def _list(self) -> AsyncGenerator[SetPart, None]:
        """Yield the runs of the set, the oldest ones first."""
        poller = self._poller
        high = time.time_ns() // MILLISECOND + AHEAD
        low, width = max(self.point.number, poller.wanted.created_after or 0) // MILLISECOND, FIRST_WIDTH
        while low < high:
            async with (
                self._budget.lists,
                aclosing(
                    run_windows(self._visible, poller.query, low, high, order=RunOrder.OLDEST_FIRST, width=width)
                ) as windows,
            ):
                window = await anext(windows)
            after = self.point.number, self.point.key
            # The index has deleted runs for a minute, which is longer than a poller looks back when it begins.
            gone = {run.place for run in window.runs if run.is_deleted}
            runs = [run for run in poller.matching(window.runs) if _place(run) > after and run.place not in gone]
            runs.sort(key=_place)
            for start in range(0, len(runs), PART):
                changes = []
                for run in runs[start : start + PART]:
                    state = None if poller.is_deleted(run.record) else await self._state(run)
                    if state is not None and poller.wanted.matches(state.status):
                        changes.append(self._listed(run, state))
                if changes:
                    yield SetPart(changes, changes[-1].position)
            low, width = window.high, window.width

    def _listed(self, run: VisibleRun, state: Snapshot) -> SetChange:
        told = noted(state.status, state.revision, inside=True)
        if told.counts(self.point.since):
            self.told[told.run_id] = told.created_at, told.revision
            bucket = bucket_of(told.run_id)
            self._sums[bucket] = (self._sums[bucket] + told.mark) % MODULUS
        number, key = _place(run)
        self.point = self.point._replace(number=number, key=key, sums=tuple(self._sums))
        return self._change(SetEvent.ADDED, told)

    async def _state(self, run: VisibleRun) -> Snapshot | None:
        if run.closed_at is None or run.ended is not None:
            return self._poller.state(run)
        async with self._budget.places:
            try:
                return await self._reader.get(run.record.run_id)
            except RunNotFound:
                return None

    @property
    def _step(self) -> int:
        """How many changes have been told since the list."""
        return self.point.key >> 64

    def _to_changes(self, step: int) -> None:
        """The next point that is no longer in the list."""
        if self.point.listing:
            self.point = self.point._replace(listing=False, number=self._poller.number(self.point.number))
        self.point = self.point._replace(key=step_key(step), sums=tuple(self._sums))

    async def _compare(self) -> AsyncGenerator[SetPart, None]:
        """Yield what may have changed since, and is not what the follower was told."""
        poller, begun = self._poller, self._from
        older: dict[str, NotedRun] = {}
        compares = True
        if begun.since < poller.known.covers:
            async with aclosing(self._older(begun.since, older)) as parts:
                async for part in parts:
                    compares = False
                    yield part
        # From now on, runs that were created until now count as told: those that were not make a difference.
        self.point = self.point._replace(listing=False, number=poller.number(self.point.number))
        for bucket in range(BUCKETS):
            self.known_at[bucket] = poller.count
            runs = {run.run_id: run for run in older.values() if bucket_of(run.run_id) == bucket}
            runs |= {run.run_id: run for run in poller.known.bucket(bucket)}
            news, total = await self._news(list(runs.values()), begun.sums[bucket] if compares else None)
            for part in self._told(news):
                yield part
            self._sums[bucket] = total

    async def _news(self, runs: list[NotedRun], before: int | None) -> tuple[list[tuple[SetEvent, NotedRun]], int]:
        """What the runs of a bucket mean for the follower, and their sum; `before` is the sum that it was told."""
        pace, since = TimeSlice(), self._from.since
        now = was = 0
        for run in runs:
            await pace.checkpoint()
            if run.counts(since):
                now += run.mark
                was += run.mark if self._may_be_told(run) else 0
        same = before is not None and was % MODULUS == before
        news = []
        for run in runs:
            await pace.checkpoint()
            told = self.told.get(run.run_id) == (run.created_at, run.revision) or (
                self._may_be_told(run) and (same or is_likely(run))
            )
            if run.counts(since) and not told and (event := self._event(run)) is not None:
                news.append((event, run))
        return news, now % MODULUS

    def _may_be_told(self, run: NotedRun) -> bool:
        """Whether the follower may have been told of a run before."""
        begun = self._from
        if begun.listing:
            return (run.created_at, run_key(run.run_id)) <= (begun.number, begun.key)
        return run.created_at < begun.number

    def _event(self, run: NotedRun) -> SetEvent | None:
        """What a run means for a follower who may not know it, or not so."""
        states = self._poller.wanted.states
        may_be_told = self._may_be_told(run)
        if not run.inside:
            return SetEvent.LEFT if may_be_told and (run.status is None or not states or _OPEN & set(states)) else None
        ended = run.ended_at is not None and run.ended_at * MILLISECOND >= self._from.number
        was = may_be_told and (not states or not ended or bool(_OPEN & set(states)))
        return SetEvent.CHANGED if was else SetEvent.ADDED

    async def _older(self, since: int, found: dict[str, NotedRun]) -> AsyncGenerator[SetPart, None]:
        """Read what has ended since and the poller does not know. If that is too much, yield it."""
        poller = self._poller
        query = f"{poller.query} AND {closed_between(since, poller.known.covers)}"
        self._to_changes(self._step)
        async with aclosing(self._visible.all(query)) as pages:
            async for page in pages:
                for run in poller.matching(page):
                    run_id, created_at = run.record.run_id, run.record.created_at
                    before = -1 if run_id not in found else found[run_id].created_at
                    if run.is_deleted and before <= created_at:  # Later ones are made anew by the key of the run.
                        found[run_id] = noted_as_deleted(run_id, created_at, run.began_at // MILLISECOND)
                    elif not run.is_deleted and before < created_at and (state := await self._state(run)) is not None:
                        inside = poller.wanted.matches(state.status)
                        found[run_id] = noted(state.status, state.revision, inside=inside)
                if len(found) > MOST_OLDER:
                    news, _ = await self._news(list(found.values()), None)
                    found.clear()
                    for part in self._told(news):
                        yield part

    def _told(self, news: list[tuple[SetEvent, NotedRun]]) -> Iterator[SetPart]:
        """What is new, in parts, each of which has the point after it."""
        for start in range(0, len(news), PART):
            changes = []
            for event, run in news[start : start + PART]:
                self._to_changes(self._step + 1)
                changes.append(self._change(event, run))
            yield SetPart(changes, changes[-1].position)

    def _change(self, event: SetEvent, run: NotedRun) -> SetChange:
        position = self.point.to_bytes(self._poller.digest)
        return SetChange(event, run.run_id, run.status, run.revision, position)


def _place(run: VisibleRun) -> tuple[int, int]:
    return run.record.created_at, run_key(run.record.run_id)
