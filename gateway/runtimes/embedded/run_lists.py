"""Lists of runs: what the journal finds, with the states of those that execute."""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import InvalidParams, NotFound, RunNotFound
from gateway.core.model import RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RunPage
from gateway.flows.run_status import ended_status, run_status, statistics
from gateway.runtimes.embedded.ended_run import EndedRun
from gateway.runtimes.embedded.journal import FoundRun, Journal
from gateway.runtimes.embedded.run import Run

_CURSOR: Final = re.compile("[0-9a-f]{1,15}")
"""The key of a run, 60 bits. Anything longer would be none to SQLite either."""


class JournalLists:
    """Lists the runs of a journal. `active` has those that are in memory, and `find` brings others there."""

    def __init__(
        self, journal: Journal, active: Mapping[str, Run], find: Callable[[str], Awaitable[Run | EndedRun]]
    ) -> None:
        self._journal = journal
        self._active = active
        self._find = find

    async def page(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        """Return a page of runs, as `Runtime.list_runs` does. A cursor is the key of the last run before it."""
        runs: list[RunStatus] = []
        last, pace = 0, TimeSlice()
        newest_first = order is RunOrder.NEWEST_FIRST
        async with aclosing(self._journal.search(wanted, _key(cursor), newest_first=newest_first)) as parts:
            async for part in parts:
                for found in part:
                    if (status := await self._matching(found, wanted)) is not None:
                        if len(runs) == limit:
                            return RunPage(runs, f"{last:x}")
                        runs.append(status)
                        last = found.key
                    await pace.checkpoint()
        return RunPage(runs, "")

    async def count(self, wanted: RunFilter) -> int:
        """Return how many runs match."""
        if (number := await self._journal.count(wanted)) is not None:
            return number
        number, pace = 0, TimeSlice()
        async with aclosing(self._journal.search(wanted, None, newest_first=False)) as parts:
            async for part in parts:
                for found in part:
                    number += wanted.matches(self._status(found))
                    await pace.checkpoint()
        return number

    async def _matching(self, found: FoundRun, wanted: RunFilter) -> RunStatus | None:
        """The status of a run, if it matches."""
        status = self._status(found)
        if not wanted.matches(status):
            return None
        if found.outcome is None and found.record.run_id not in self._active:
            # One from before that nobody has asked for yet, or one that has just ended.
            try:
                status = (await self._find(found.record.run_id)).snapshot().status
            except RunNotFound:
                return None
            except NotFound:
                pass  # Its flow is gone: it does not go on.
        return status if wanted.matches(status) else None

    def _status(self, found: FoundRun) -> RunStatus:
        """The status of a run as it is in memory; else as the journal has it, without the numbers of its items."""
        run = self._active.get(found.record.run_id)
        if run is not None:
            return run.snapshot().status
        if found.outcome is not None:
            expires_at = self._journal.retention.expires_at(found.record, found.outcome)
            return ended_status(found.record, found.outcome, expires_at)
        state = RunState.RUNNING if found.begun else RunState.PENDING
        return run_status(found.record, state, statistics(found.record.total, 0, 0, 0), None, None)


def _key(cursor: str) -> int | None:
    if not cursor:
        return None
    if _CURSOR.fullmatch(cursor) is None:
        raise InvalidParams.field("page_token", description="it is not of this gateway")
    return int(cursor, 16)
