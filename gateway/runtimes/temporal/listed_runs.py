"""Lists and counts of runs: what visibility finds, with what this gateway knows better."""

import time
from contextlib import aclosing
from typing import Final, NamedTuple

from msgspec.structs import replace

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import InvalidParams
from gateway.core.model import RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RunPage
from gateway.runtimes.temporal.recent_here import RecentHere
from gateway.runtimes.temporal.run_states import STATES, RunStates, accepted
from gateway.runtimes.temporal.run_windows import FIRST_WIDTH, RunWindow, run_windows
from gateway.runtimes.temporal.visibility_query import (
    MILLISECOND,
    counts_exactly,
    created_between,
    visibility_query,
)
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns

AHEAD: Final = 60_000
"""How far the clocks of gateways may be ahead of this one's, in milliseconds: later runs are not looked for."""

WINDOWS: Final = 64
"""How many windows a page reads at most, if hardly any run in them matches: then it ends early."""

MAX_READ: Final = 10_000
"""How many runs are read at most to count what the engine cannot count exactly."""


class ListPoint(NamedTuple):
    """The point after a run in a list, or between two. `width` is that of the next window."""

    created_at: int
    run_id: str
    width: int

    def cursor(self) -> str:
        """The form for clients."""
        return f"{self.created_at}.{self.width}.{self.run_id}"

    @classmethod
    def parse(cls, cursor: str) -> "ListPoint":
        """Raises InvalidParams if it is none."""
        created, _, rest = cursor.partition(".")
        width, _, run_id = rest.partition(".")
        if not all(text.isascii() and text.isdecimal() and len(text) <= 20 for text in (created, width)):
            raise InvalidParams.field("page_token", description="not a token of this server")
        return cls(int(created), run_id, max(1, min(int(width), 1 << 42)))


class ListedRuns:
    """Lists runs. `recent` are those that have changed here; `states` tells what has become of runs."""

    def __init__(self, visible: VisibleRuns, recent: RecentHere, states: RunStates) -> None:
        self._visible = visible
        self._recent = recent
        self._states = states

    async def page(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        """At most `limit` runs that match, as `Runtime.list_runs` says."""
        newest = order is RunOrder.NEWEST_FIRST
        point = ListPoint.parse(cursor) if cursor else None
        low, high = _bounds(wanted, point, newest=newest)
        width = FIRST_WIDTH if point is None else point.width
        found: list[RunStatus] = []
        read = 0
        query = visibility_query(wanted)
        async with aclosing(run_windows(self._visible, query, low, high, order=order, width=width)) as windows:
            async for window in windows:
                for status in await self._matching(wanted, window, point, limit + 1 - len(found), newest=newest):
                    if len(found) == limit:
                        return RunPage(found, _after(found[-1], window.width).cursor())
                    found.append(status)
                read += 1
                if read == WINDOWS:
                    edge = window.low if newest else window.high
                    return RunPage(found, ListPoint(edge * MILLISECOND, "", window.width).cursor())
        return RunPage(found, "")

    async def count(self, wanted: RunFilter) -> int:
        """How many runs match, as `Runtime.count_runs` says."""
        low, high = _bounds(wanted, None, newest=True)
        query = visibility_query(wanted)
        since = self._recent.since()
        edge = high if since is None else min(high, max(low, since // MILLISECOND))
        older = 0
        if low < edge:
            older = await self._visible.count(f"{query} AND {created_between(low, edge)}")
            if older and older <= MAX_READ and not counts_exactly(wanted):
                older = await self._count_read(wanted, query, low, edge)
        return older + (await self._count_read(wanted, query, edge, high) if edge < high else 0)

    async def _count_read(self, wanted: RunFilter, query: str, low: int, high: int) -> int:
        """How many of the runs created between two milliseconds match: they are read, unless they are many."""
        query = f"{query} AND {created_between(low, high)}"
        if (count := await self._visible.count(query)) > MAX_READ:
            return count
        runs = [run async for page in self._visible.all(query) for run in page]
        there = await self._there(wanted, RunWindow(low, high, 1, runs), None, newest=True)
        if not wanted.states:
            return len(there)
        statuses = [status async for some in self._states.of(there) for status in some]
        return sum(status is not None and wanted.matches(status) for status in statuses)

    async def _matching(
        self, wanted: RunFilter, window: RunWindow, point: ListPoint | None, limit: int, *, newest: bool
    ) -> list[RunStatus]:
        """The first runs of a window that match, in their order, after a point."""
        there = await self._there(wanted, window, point, newest=newest)
        found: list[RunStatus] = []
        async with aclosing(self._states.of(there, min(limit, STATES))) as told:
            async for statuses in told:
                found += [status for status in statuses if status is not None and wanted.matches(status)]
                if len(found) >= limit:
                    break
        return found[:limit]

    async def _there(
        self, wanted: RunFilter, window: RunWindow, point: ListPoint | None, *, newest: bool
    ) -> list[VisibleRun]:
        """The runs of a window that match, whatever state they are in, in their order, after a point."""
        low, high = window.low * MILLISECOND, window.high * MILLISECOND
        runs = {record.run_id: VisibleRun(record, None, 0, None) for record in self._recent.created(low, high)}
        there = (run for run in window.runs if not self._recent.was_deleted(run.record))
        runs |= {run.record.run_id: run for run in there}
        whatever_state, pace, found = replace(wanted, states=()), TimeSlice(), []
        for run in sorted(runs.values(), key=_place, reverse=newest):
            await pace.checkpoint()
            if point is not None and (run.place >= point[:2] if newest else run.place <= point[:2]):
                continue
            if whatever_state.matches(accepted(run.record)):
                found.append(run)
        return found


def _bounds(wanted: RunFilter, point: ListPoint | None, *, newest: bool) -> tuple[int, int]:
    """From which millisecond on, and before which, runs are looked for."""
    low = 0 if wanted.created_after is None else max(0, wanted.created_after // MILLISECOND)
    high = time.time_ns() // MILLISECOND + AHEAD
    if wanted.created_before is not None:
        high = min(high, wanted.created_before // MILLISECOND + 1)
    if point is not None and newest:
        high = min(high, point.created_at // MILLISECOND + 1)
    elif point is not None:
        low = max(low, point.created_at // MILLISECOND)
    return low, high


def _after(status: RunStatus, width: int) -> ListPoint:
    return ListPoint(status.created_at, status.run_id, width)


def _place(run: VisibleRun) -> tuple[int, str]:
    return run.place
