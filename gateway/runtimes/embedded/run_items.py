"""The items of a run, as those see them who look into it: those that execute, those that have ended, and all others."""

import heapq
from collections.abc import Collection
from functools import partial
from typing import Final

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.items import Item, ItemPage
from gateway.core.model import ItemResult, Nanoseconds, RunState
from gateway.core.runtime import RESULT_PAGE_BYTES
from gateway.flows.item_log import read_log
from gateway.flows.item_pages import finished_item, item_size, page_with_inputs
from gateway.runtimes.embedded.ended_run import EndedRun
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.run import Run

WINDOW: Final = 1_024
"""How many items are looked at before everything else has a turn."""

LOOKS: Final = 16
"""After how many looks that find nothing a page ends, so that its caller can say how far it has come."""

_FINISHED: Final = frozenset({RunState.SUCCESS, RunState.FAILED})
_ALL: Final = frozenset(RunState)


async def read_items(
    journal: Journal,
    run: Run | EndedRun,
    states: Collection[RunState],
    start: int,
    limit: int,
    *,
    with_inputs: bool,
) -> ItemPage:
    """Return items as `Runtime.items` does. Raises Unavailable if the journal cannot be read."""
    items, rest = await _ItemSearch(journal, run, frozenset(states) or _ALL, start, limit).find()
    if not with_inputs:
        return ItemPage(items, rest)
    return await page_with_inputs(items, rest, partial(journal.inputs, run.record.run_id))


class _ItemSearch:
    """Finds items from an index on, a window at a time."""

    def __init__(
        self, journal: Journal, run: Run | EndedRun, states: frozenset[RunState], start: int, limit: int
    ) -> None:
        self._journal = journal
        self._run = run
        self._run_id = run.record.run_id
        self._total = run.record.total
        self._states = states
        self._limit = limit
        self._index = start
        self._items: list[Item] = []
        self._size = 0

    async def find(self) -> tuple[list[Item], int | None]:
        """The items, and the index at which to look for more."""
        if self._states <= {RunState.RUNNING}:
            self._add_executing()
            return self._items, self._rest()
        slice_of_time = TimeSlice()
        for _ in range(LOOKS):
            if self._index >= self._total or self._is_full or not self._may_match():
                break
            await self._look()
            await slice_of_time.checkpoint()
        return self._items, self._rest()

    @property
    def _is_full(self) -> bool:
        return len(self._items) >= self._limit or self._size >= RESULT_PAGE_BYTES

    def _rest(self) -> int | None:
        return self._index if self._index < self._total and self._may_match() else None

    def _may_match(self) -> bool:
        """Whether items of the run can be in one of the states at all."""
        if not isinstance(self._run, EndedRun):
            return self._states != {RunState.CANCELLED}
        counts = self._run.last.status.items
        return any(
            state in self._states and number
            for state, number in (
                (RunState.SUCCESS, counts.success),
                (RunState.FAILED, counts.failed),
                (RunState.CANCELLED, counts.cancelled),
            )
        )

    def _add_executing(self) -> None:
        if isinstance(self._run, EndedRun):
            self._index = self._total
            return
        executing = self._run.executing
        found = heapq.nsmallest(self._limit + 1, (index for index in executing if index >= self._index))
        for index in found[: self._limit]:
            self._add(self._executing(self._run, index))
            self._index = index + 1
            if self._is_full:
                return
        if len(found) <= self._limit:
            self._index = self._total

    async def _look(self) -> None:
        """Add what matches in one window."""
        wanted = self._states & _FINISHED
        if self._states <= {RunState.FAILED}:
            kept = await self._journal.items(self._run_id, self._index, self._total, wanted)
            self._merge({}, kept.items, kept.reached)
            return
        if not wanted:
            self._index = await self._next_unfinished()
        stop = min(self._index + WINDOW, self._total)
        # First those without a result: whatever ends meanwhile is found with its result, and counts as ended.
        others = await self._unfinished(stop)
        if not wanted:
            self._merge(others, [], stop)
            return
        kept = await self._journal.items(self._run_id, self._index, stop, _FINISHED if others else wanted)
        self._merge(others, kept.items, kept.reached)

    async def _next_unfinished(self) -> int:
        """Where the next item without a result is, or where to look for it."""
        if isinstance(self._run, Run):
            return self._run.next_unfinished(self._index)
        done = (await self._journal.finished_items(self._run_id, self._index)).done
        gap = done.find(0)
        return self._index + (len(done) if gap < 0 else gap)

    async def _unfinished(self, stop: int) -> dict[int, Item]:
        """The items before `stop` that have no result."""
        run, states = self._run, self._states
        if isinstance(run, Run):
            items = {}
            for index in range(self._index, stop):
                if not run.is_done(index):
                    executes = index in run.executing
                    items[index] = self._executing(run, index) if executes else Item(index, RunState.PENDING)
            return items
        if RunState.CANCELLED not in states or not run.last.status.items.cancelled:
            return {}
        if self._index >= self._total:
            return {}
        done = (await self._journal.finished_items(self._run_id, self._index)).done
        at = run.last.status.completed_at
        stopped = await self._journal.stopped_items(self._run_id, self._index, stop)
        return {
            index: _cancelled(index, at, stopped.get(index))
            for index in range(self._index, stop)
            if not done[index - self._index]
        }

    def _executing(self, run: Run, index: int) -> Item:
        log = run.executing[index]
        if log is None:
            return Item(index, RunState.RUNNING)
        return Item(index, RunState.RUNNING, started_at=log.started_at, attempts=log.attempts, steps=log.statuses())

    def _merge(self, others: dict[int, Item], kept: list[tuple[ItemResult, bytes | None]], reached: int) -> None:
        found = {index: item for index, item in others.items() if index < reached}
        for result, steps in kept:
            found[result.item_index] = finished_item(result, steps)
        for index in sorted(found):
            item = found[index]
            if item.status in self._states:
                self._add(item)
            self._index = index + 1
            if self._is_full:
                return
        self._index = reached

    def _add(self, item: Item) -> None:
        self._items.append(item)
        self._size += item_size(item)


def _cancelled(index: int, at: Nanoseconds | None, kept: bytes | None) -> Item:
    """An item of a cancelled run that has no result; `kept` if it was executing."""
    if kept is None:
        return Item(index, RunState.CANCELLED, completed_at=at)
    log = read_log(kept)
    return Item(
        index,
        RunState.CANCELLED,
        started_at=log.started_at,
        completed_at=at,
        attempts=log.attempts,
        steps=log.statuses(),
    )
