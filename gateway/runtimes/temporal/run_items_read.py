"""The items of a run, as those see them who look into it: those that have ended, those handed out, and all others.

What items that have ended came to is kept with their results. Of those that execute, the engine knows only which chunks
are handed out. A chunk executes one item after the other, and tells what they came to when it ends: its first item
counts as the one that executes, as in the numbers of the run, and those after it wait.
"""

from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.items import Item, ItemPage
from gateway.core.model import ItemStatistics, JsonText, Nanoseconds, RunState
from gateway.core.runtime import RESULT_PAGE_BYTES
from gateway.flows.item_pages import finished_item, item_size, page_with_inputs
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.engine import Engine
from gateway.runtimes.temporal.kept_inputs import KeptInputs
from gateway.runtimes.temporal.kept_results import told
from gateway.runtimes.temporal.messages import Inputs, KeptResult, ResultsPart
from gateway.runtimes.temporal.read_parts import PartsReader
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.runtimes.temporal.run_view import RunView
from gateway.storage.object_backend import ObjectMissing

WINDOW: Final = 1_024
"""How many items are looked at together."""

WINDOW_SIZE: Final = 4 << 20
"""How many characters of results are read together; more, only if a single item needs that."""

LOOKS: Final = 16
"""After how many looks a page ends, so that its caller can say how far it has come."""

STARTS: Final = 1_000
STARTS_SIZE: Final = 16 << 20
"""Of how many runs it stays known where their inputs are, and how many characters of inputs that may take."""

_STEP: Final = 128
"""How many items are looked at between two checkpoints."""

_PLACE_SIZE: Final = 32
"""What it takes to know where an input is, or that it is there."""


class ItemsReader:
    """Reads the items of runs that `reader` knows, and what they were submitted with from `inputs`."""

    def __init__(self, engine: Engine, reader: RunReader, inputs: KeptInputs) -> None:
        self._engine = engine
        self._reader = reader
        self._kept = inputs
        # With the time: an id that comes of a key may be that of another run when the first one has been deleted.
        self._starts: BoundedCache[tuple[str, Nanoseconds], Inputs] = BoundedCache(STARTS, STARTS_SIZE)

    async def page(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        """Return items as `Runtime.items` does. Raises Unavailable if the engine or the storage is away."""
        view = await self._reader.with_results(run_id)
        search = _PartsSearch(self._reader.parts, view, frozenset(states or RunState), start, limit)
        items, rest = await search.find()
        if not with_inputs or not items:
            return ItemPage(items, rest)
        inputs = await self._inputs_of(view.record)
        return await page_with_inputs(items, rest, partial(self._following, run_id, inputs))

    async def _inputs_of(self, record: RunRecord) -> Inputs:
        key = record.run_id, record.created_at
        inputs = self._starts.use(key)
        if inputs is None:
            inputs = (await self._engine.started(record.run_id)).inputs
            texts = inputs.texts or ()
            size = sum(map(len, texts)) + _PLACE_SIZE * (len(texts) + len(inputs.starts))
            self._starts.put(key, inputs, size)
        return inputs

    async def _following(self, run_id: str, inputs: Inputs, index: int) -> list[JsonText]:
        try:
            return await self._kept.following(run_id, inputs, index)
        except ObjectMissing:
            # Somebody has deleted them. What became of the items is known.
            return []


class _PartsSearch:
    """Finds items from an index on, as a run is at one moment, a window at a time."""

    def __init__(self, parts: PartsReader, view: RunView, states: frozenset[RunState], start: int, limit: int) -> None:
        snapshot, progress = view.snapshot(), view.progress
        self._reader = parts
        self._total = view.record.total
        self._states = states & _present(snapshot.status.items)
        self._executing = (
            [] if view.ended is not None or progress is None else [first for first, _ in progress.executing]
        )
        self._prefix = snapshot.prefix
        self._index = start
        self._limit = limit
        self._known = [part for _, part in view.with_items(start, self._total) if self._matters(part)]
        self._items: list[Item] = []
        self._size = 0
        self._pace = TimeSlice()

    async def find(self) -> tuple[list[Item], int | None]:
        """The items, and the index at which to look for more."""
        for _ in range(LOOKS):
            if not self._is_full:
                self._index = self._next()
            if self._index >= self._total or self._is_full:
                break
            await self._look()
        return self._items, self._index if self._index < self._total and self._states else None

    @property
    def _is_full(self) -> bool:
        return len(self._items) >= self._limit or self._size >= RESULT_PAGE_BYTES

    def _next(self) -> int:
        """The first item from here on that may be in one of the states."""
        index = self._index
        found = [max(index, part.low) for part in self._known if part.high > index and self._has(part)]
        if RunState.RUNNING in self._states:
            found += [first for first in self._executing if first >= index]
        if RunState.PENDING in self._states:
            found.append(max(index, self._prefix))
        return min(found, default=self._total)

    def _matters(self, part: ResultsPart) -> bool:
        """Whether a part tells something of items in one of the states: also, which are not pending."""
        return RunState.PENDING in self._states or self._has(part)

    def _has(self, part: ResultsPart) -> bool:
        """Whether a part has items in one of the states."""
        if part.cancelled_at is not None:
            return RunState.CANCELLED in self._states
        has_failed = part.failed > 0 and RunState.FAILED in self._states
        return has_failed or (part.count > part.failed and RunState.SUCCESS in self._states)

    def _is_read(self, part: ResultsPart) -> bool:
        """Whether the results of a part are needed. Not if its items are next to each other, and none is wanted."""
        return part.cancelled_at is None and (self._has(part) or part.count != part.high - part.low)

    def _size_of(self, parts: Iterable[ResultsPart], stop: int) -> int:
        """How many characters the results have that are read for the items before `stop`."""
        return sum(part.size for part in parts if part.low < stop and self._is_read(part))

    async def _look(self) -> None:
        """Add what matches in one window."""
        stop = min(self._index + WINDOW, self._total)
        parts = await self._within(stop)
        while stop - self._index > 1 and self._size_of(parts, stop) > WINDOW_SIZE:
            stop = self._index + (stop - self._index) // 2
        # The result of each item, or the item if it has none; None if it is in none of the states.
        found: dict[int, Item | KeptResult | None] = {}
        for part in parts:
            await self._add_part(found, part, stop)
        for first in self._executing:
            if self._index <= first < stop:
                found[first] = Item(first, RunState.RUNNING)
        if RunState.PENDING in self._states:
            for index in range(self._index, stop):
                if index not in found:
                    found[index] = Item(index, RunState.PENDING)
        await self._take(found, stop)

    async def _within(self, stop: int) -> list[ResultsPart]:
        """The parts that tell something of the items before `stop`."""
        found: list[ResultsPart] = []
        start = self._index
        for outer in self._known:
            if outer.low < stop and start < outer.high:
                inner: Iterable[ResultsPart] = await self._reader.inner(outer)
                found += [each for each in inner if each.low < stop and start < each.high and self._matters(each)]
                await self._pace.checkpoint()
        return found

    async def _add_part(self, found: dict[int, Item | KeptResult | None], part: ResultsPart, stop: int) -> None:
        low, high = max(part.low, self._index), min(part.high, stop)
        if low >= high:
            return
        if part.cancelled_at is not None:
            for index in range(low, high):
                found[index] = Item(index, RunState.CANCELLED, completed_at=part.cancelled_at)
        elif not self._is_read(part):
            found.update(dict.fromkeys(range(low, high)))
        else:
            for place, kept in enumerate(await self._reader.kept(part)):
                if low <= kept.item_index < high:
                    found[kept.item_index] = kept
                if place % _STEP == _STEP - 1:
                    await self._pace.checkpoint()
        await self._pace.checkpoint()

    async def _take(self, found: dict[int, Item | KeptResult | None], stop: int) -> None:
        """Add those of the items before `stop` that are in one of the states, as many as fit the page."""
        for index in sorted(found):
            item = found[index]
            if isinstance(item, KeptResult):
                state = RunState.SUCCESS if item.code is None else RunState.FAILED
                item = finished_item(told(item), item.log) if state in self._states else None
            if item is not None and item.status in self._states:
                self._items.append(item)
                self._size += item_size(item)
                self._index = index + 1
                if self._is_full:
                    return
                await self._pace.checkpoint()
        self._index = stop


def _present(items: ItemStatistics) -> frozenset[RunState]:
    """The states that items of a run are in."""
    numbers = {
        RunState.PENDING: items.pending,
        RunState.RUNNING: items.running,
        RunState.SUCCESS: items.success,
        RunState.FAILED: items.failed,
        RunState.CANCELLED: items.cancelled,
    }
    return frozenset(state for state, number in numbers.items() if number)
