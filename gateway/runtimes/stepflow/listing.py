"""Lists of an engine's runs: its pages are filtered and put in order here.

An engine lists runs by the time at which they were created, the latest first, and names a page by its offset. Times
may be whole seconds, and runs of the same time come in any order. Of the filters, it knows too few, and it does not
know what the gateway knows of a run. So runs are read in windows and looked through, a bounded number for each page,
and runs of the same time are sorted by their ids.

Nothing is ever deleted from an engine's list, and new runs come at its beginning. So a cursor names the last run, and
its offset as a hint: if more runs have come, it is a little further on.
"""

import sys
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from gateway.core.errors import InvalidParams, Unsupported
from gateway.core.model import Nanoseconds, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RunPage
from gateway.runtimes.stepflow.runs import Runs

WINDOW: Final = 200
"""How many runs are read at once; twice as many, and so on, if all of them have the same time."""

MAX_SCANNED: Final = 2_000
"""How many runs are looked through for one page, which may have fewer runs than it could for that."""

MAX_COUNTED: Final = 100_000
"""How many runs are looked through to count those that match."""


class _ListPlace(NamedTuple):
    """The place of a run among all: the later it was created, the larger."""

    created_at: Nanoseconds
    run_id: str


class _ListCursor(NamedTuple):
    """The point after a run, and its offset in the engine's list as far as it is known.

    That is the number of runs that are newer than its time, or in the other order, no older.
    """

    key: _ListPlace
    offset: int


class _ListPart(NamedTuple):
    """Some runs in their order, the offset of the point after each, and where more follow.

    That is None if no more runs can match.
    """

    runs: list[RunStatus]
    offsets: dict[Nanoseconds, int]
    rest: _ListCursor | None


_CURSORS: Final = msgspec.json.Decoder(tuple[int, str, int])


class Listing:
    """The list of the runs of an engine."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def page(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        """Return runs as `Runtime.list_runs` does."""
        scan = _Scan(self._runs, wanted, newest_first=order is RunOrder.NEWEST_FIRST)
        last = _read_cursor(cursor) if cursor else await scan.beginning()
        found: list[RunStatus] = []
        # Nobody is to be told how many runs other namespaces have: no offsets, and no pages that are short for them.
        most, is_alone = (MAX_SCANNED, True) if wanted.namespace is None else (MAX_COUNTED, False)
        scanned = 0
        while last is not None and scanned < most:
            runs, offsets, last = await scan.after(last)
            scanned += len(runs)
            for run in await self._runs.told.all_told(runs):
                if wanted.matches(run):
                    found.append(run)
                    if len(found) == limit:
                        offset = offsets[run.created_at] if is_alone else 0
                        return RunPage(found, _cursor_text(_key(run), offset))
        return RunPage(found, "" if last is None else _cursor_text(*last))

    async def count(self, wanted: RunFilter) -> int:
        """Return how many runs match. Raises Unsupported if there are too many to look through."""
        count, cursor, pages = 0, "", 0
        while pages == 0 or cursor:
            if pages * MAX_SCANNED >= MAX_COUNTED:
                raise Unsupported(f"the engine counts no runs, and has more than {MAX_COUNTED:,} to look through")
            found, cursor = await self.page(wanted, RunOrder.NEWEST_FIRST, cursor, sys.maxsize)
            count += len(found)
            pages += 1
        return count


class _Scan:
    """Reads the list in one direction. Positions are offsets in the engine's list, where the newest run is at 0."""

    def __init__(self, runs: Runs, wanted: RunFilter, *, newest_first: bool) -> None:
        self._runs = runs
        self._newest_first = newest_first
        name = wanted.flow_name
        self._query = f"flowName={quote(name, safe='')}&" if name is not None and not name.endswith("*") else ""
        self._after = wanted.created_after
        self._before = wanted.created_before

    async def beginning(self) -> _ListCursor | None:
        """Where the list begins; None if it is empty."""
        if not self._newest_first:
            first = -1 if self._after is None else self._after
            return _ListCursor(_ListPlace(first, ""), 0)
        latest = await self._window(0, 1)
        if not latest:
            return None
        bound = latest[0].created_at + 1 if self._before is None else self._before
        return _ListCursor(_ListPlace(bound, ""), 0)

    async def after(self, last: _ListCursor) -> _ListPart:
        """Return the next runs."""
        return await (self._older(last) if self._newest_first else self._newer(last))

    async def _older(self, last: _ListCursor) -> _ListPart:
        count, more, runs = WINDOW, True, list[RunStatus]()
        while more and not runs:
            offset = await self._first_at_or_before(last.key.created_at, last.offset)
            window = await self._window(offset, count)
            more = len(window) == count
            if more:
                # There may be more runs of the last time behind the window.
                window = [run for run in window if run.created_at != window[-1].created_at]
            runs = sorted((run for run in window if _key(run) < last.key), key=_key, reverse=True)
            count *= 2
        offsets = {run.created_at: offset + index for index, run in reversed(list(enumerate(window)))}
        if not more or (self._after is not None and runs[-1].created_at < self._after):
            return _ListPart(runs, offsets, None)
        return _ListPart(runs, offsets, _ListCursor(_key(runs[-1]), offsets[runs[-1].created_at]))

    async def _newer(self, last: _ListCursor) -> _ListPart:
        count, end, more, runs = WINDOW, last.offset, True, list[RunStatus]()
        while more and not runs:
            end = await self._first_at_or_before(last.key.created_at - 1, end)
            start = max(0, end - count)
            window = await self._window(start, end + 1 - start)
            if len(window) > end - start and window.pop().created_at >= last.key.created_at:
                continue  # More runs have come meanwhile, and some that are to be told are further on.
            if more := start > 0:
                # There may be more runs of the first time before the window.
                window = [run for run in window if run.created_at != window[0].created_at]
            runs = sorted((run for run in window if _key(run) > last.key), key=_key)
            count *= 2
        offsets = {run.created_at: end - index for index, run in reversed(list(enumerate(reversed(window))))}
        if not more or (self._before is not None and runs[-1].created_at >= self._before):
            return _ListPart(runs, offsets, None)
        return _ListPart(runs, offsets, _ListCursor(_key(runs[-1]), offsets[runs[-1].created_at]))

    async def _first_at_or_before(self, time: Nanoseconds, hint: int) -> int:
        """The offset of the newest run that was created at this time or earlier: the length of the list if none was."""
        if hint and not await self._is_newer(hint - 1, time):
            low, high = -1, hint - 1
        else:
            # Most often, the hint is right, or no more runs have come than fit a few steps.
            low, step = hint - 1, 1
            while await self._is_newer(low + step, time):
                low += step
                step *= 2
            high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            if await self._is_newer(middle, time):
                low = middle
            else:
                high = middle
        return high

    async def _is_newer(self, offset: int, time: Nanoseconds) -> bool:
        """Whether there is a run at this offset, and it was created after a time."""
        run = await self._window(offset, 1)
        return bool(run) and run[0].created_at > time

    async def _window(self, offset: int, count: int) -> list[RunStatus]:
        if not count:
            return []
        return await self._runs.listed(f"{self._query}limit={count}&offset={offset}")


def _key(run: RunStatus) -> _ListPlace:
    return _ListPlace(run.created_at, run.run_id)


def _read_cursor(text: str) -> _ListCursor:
    try:
        created_at, run_id, offset = _CURSORS.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidParams.field("page_token", description="not a token of this list") from None
    return _ListCursor(_ListPlace(created_at, run_id), max(0, offset))


def _cursor_text(key: _ListPlace, offset: int) -> str:
    return msgspec.json.encode((*key, offset)).decode()
