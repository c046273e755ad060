"""Brings a follower of a set from where it was to the present."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gateway.core.run_filter import RunOrder
from gateway.core.run_sets import SetChange, SetEvent, SetPart
from gateway.core.runtime import Snapshot
from gateway.runtimes.temporal.run_windows import run_windows
from gateway.runtimes.temporal.set_point import SetPoint, run_key, run_mark, state_mark, was_inside
from gateway.runtimes.temporal.set_poller import CLOSED_MS, SetPoller
from gateway.runtimes.temporal.visibility_query import MILLISECOND, changed_since
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns

PART: Final = 16
"""How many runs are looked at together."""

AHEAD: Final = 60_000
"""How far the clocks of gateways may be ahead of this one's, in milliseconds."""


class CatchingUp:
    """Goes on after `point`; None is the beginning. `poller` gets to know what is told, so that its points tell it."""

    def __init__(self, visible: VisibleRuns, poller: SetPoller, point: SetPoint | None) -> None:
        self.told: dict[str, int] = {}
        """The revisions that were told of runs that may have changed since."""
        self._visible = visible
        self._poller = poller
        self._begins = point is None
        self._point = point or SetPoint(True, 0, 0, poller.since, {})
        self._marks = dict(self._point.marks)

    async def parts(self) -> AsyncGenerator[SetPart, None]:
        """Yield what is new for the follower."""
        if self._point.listing:
            async with aclosing(self._list()) as parts:
                async for part in parts:
                    yield part
        if not self._begins:
            if self._point.listing:
                self._point = self._point._replace(listing=False, number=0, key=0)
            async with aclosing(self._changed()) as parts:
                async for part in parts:
                    yield part

    async def _list(self) -> AsyncGenerator[SetPart, None]:
        """Yield the runs of the set, the oldest ones first."""
        poller, point = self._poller, self._point
        after, high = (point.number, point.key), time.time_ns() // MILLISECOND + AHEAD
        low = max(point.number, poller.wanted.created_after or 0) // MILLISECOND
        async with aclosing(
            run_windows(self._visible, poller.query, low, high, order=RunOrder.OLDEST_FIRST)
        ) as windows:
            async for window in windows:
                runs = sorted((run for run in poller.matching(window.runs) if _place(run) > after), key=_place)
                for start in range(0, len(runs), PART):
                    some = runs[start : start + PART]
                    changes = []
                    for run, state in zip(some, await poller.states(some), strict=True):
                        if state is not None and poller.wanted.matches(state.status):
                            number, key = _place(run)
                            changes.append(self._change(SetEvent.ADDED, state, number, key))
                    if changes:
                        yield SetPart(changes, changes[-1].position)

    async def _changed(self) -> AsyncGenerator[SetPart, None]:
        """Yield what may have changed since, and is not what the follower was told."""
        poller = self._poller
        condition = f"(ExecutionStatus = 'Running' OR {changed_since(self._point.since)})"
        async with aclosing(self._visible.all(f"{poller.query} AND {condition}")) as pages:
            async for page in pages:
                runs = poller.matching(page)
                for start in range(0, len(runs), PART):
                    states = await poller.states(runs[start : start + PART])
                    changes = [change for state in states if state is not None and (change := self._compared(state))]
                    if changes:
                        yield SetPart(changes, changes[-1].position)

    def _compared(self, state: Snapshot) -> SetChange | None:
        """What a state means for the follower; None if it knows it, or it means nothing."""
        status, inside = state.status, self._poller.wanted.matches(state.status)
        mark = self._marks.get(run_mark(status.run_id))
        if mark == state_mark(status, inside=inside):
            self.told[status.run_id] = state.revision
            return None
        # One without a mark was there before, or is new.
        was = status.created_at // MILLISECOND < self._point.since if mark is None else was_inside(mark)
        if not inside and not was:
            return None
        event = SetEvent.LEFT if not inside else SetEvent.CHANGED if was else SetEvent.ADDED
        return self._change(event, state, self._point.number, self._point.key + 1)

    def _change(self, event: SetEvent, state: Snapshot, number: int, key: int) -> SetChange:
        status = state.status
        if status.completed_at is None or status.completed_at // MILLISECOND >= self._point.since - CLOSED_MS:
            self.told[status.run_id] = state.revision
            run = run_mark(status.run_id)
            self._marks.pop(run, None)
            self._marks[run] = state_mark(status, inside=event is not SetEvent.LEFT)
        self._point = self._point._replace(number=number, key=key, marks=self._marks)
        position = self._point.to_bytes(self._poller.digest)
        return SetChange(event, status.run_id, status, state.revision, position)


def _place(run: VisibleRun) -> tuple[int, int]:
    return run.record.created_at, run_key(run.record.run_id)
