"""The results of runs at an upstream that gives all results of a run at once, and no others.

What was read last is kept for a while, so that the pages of a large run cost one request, not one each.
"""

import asyncio
import itertools
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from gateway.adapter.status_from_json import item_result_from_json, run_status_and_entries_from_json
from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.single_flight import SingleFlight
from gateway.core.errors import InvalidParams, Unavailable
from gateway.core.model import ItemResult, JsonText, ResultOrder, RunStatus
from gateway.core.runtime import Page, Snapshot, fill_page, text_size
from gateway.runtimes.jsonrpc.answers import unreadable
from gateway.runtimes.jsonrpc.snapshots import canonical, snapshot_of

KEPT_READINGS: Final = 256
KEPT_TEXT: Final = 32 << 20
"""How many readings are kept, and how much result text they may hold together, in characters; the latest is kept
whatever its size."""

CONCURRENT: Final = 4
"""How many are read at once: each may be as large as an answer may be."""

PAUSES: Final = (0.0, 0.05, 0.2, 0.5, 1.0)
"""Seconds before each attempt to read results that the upstream counts, but does not show yet."""

READ_RATE: Final = 4 << 20
"""How much result text is read each second to see which leading items of one run have finished, in characters."""

_SLICE: Final = 32
"""How many results are read in a turn of the event loop."""


class Reading:
    """The results of a run at one moment. `complete`: the run had finished."""

    def __init__(self, status: RunStatus, results: list[ItemResult]) -> None:
        self.status = status
        self.results = results
        """The results of finished items, in the order of completion: each has its place as its index."""
        self.complete = status.status.terminal
        self.size = sum(map(text_size, results))
        self._by_index = sorted(range(len(results)), key=lambda place: results[place].item_index)
        self._indexes = [results[place].item_index for place in self._by_index]
        self.prefix = next((at for at, index in enumerate(self._indexes) if at != index), len(self._indexes))

    def page(self, page: Page) -> list[ItemResult]:
        """As `gateway.core.runtime.Runtime.results`."""
        return fill_page(self._of(page), text_size)

    def _of(self, page: Page) -> Iterator[ItemResult]:
        if page.order is ResultOrder.BY_COMPLETION:
            for result in itertools.islice(self.results, page.first, page.completions):
                if page.start <= result.item_index < page.stop:
                    yield result
            return
        for at in range(bisect_left(self._indexes, page.start), bisect_left(self._indexes, page.stop)):
            place = self._by_index[at]
            if page.first <= place < page.completions:
                yield self.results[place]


class Readings:
    """Reads results by `fetch`, which returns the answer of runs/get with all results in the order of completion."""

    def __init__(self, fetch: Callable[[str], Awaitable[JsonText]]) -> None:
        self._fetch = fetch
        self._room = asyncio.Semaphore(CONCURRENT)
        self._reads = SingleFlight(self._read)
        self._kept: BoundedCache[str, Reading] = BoundedCache(KEPT_READINGS, KEPT_TEXT)

    def kept(self, run_id: str) -> Reading | None:
        """What was read last, if it is still there."""
        return self._kept.get(run_id)

    async def covering(self, run_id: str, completions: int) -> Reading:
        """A reading with so many results, or of a finished run. Unavailable if the upstream does not show them."""
        for pause in PAUSES:
            reading = self._kept.get(run_id)
            if reading is None or not (reading.complete or len(reading.results) >= completions):
                await asyncio.sleep(pause)
                reading = await self.fresh(run_id)
            if reading.complete or len(reading.results) >= completions:
                self._kept.touch(run_id)
                return reading
        raise Unavailable("the upstream does not show all results that it counts", retry_after=1.0)

    async def fresh(self, run_id: str) -> Reading:
        """Read the results of a run, together with all who ask for them meanwhile."""
        return await self._reads.get(run_id)

    async def close(self) -> None:
        """Stop reading."""
        await self._reads.close()
        self._kept.clear()

    async def _read(self, run_id: str) -> Reading:
        async with self._room:
            text = await self._fetch(run_id)
            try:
                status, entries = run_status_and_entries_from_json(text)
                status = canonical(status, run_id)
                results = await _finished(entries)
            except InvalidParams as error:
                raise unreadable(error) from None
        before = self._kept.get(run_id)
        reading = Reading(status, _in_order(results, before.results if before else ()))
        self._kept.put(run_id, reading, reading.size)
        return reading


class Prefixes:
    """Finds out which leading items of one run have finished: the counts do not tell, only the results do.

    They are read when some have finished since the last time, unless those were so large that it is too early. Then the
    prefix is that of the last time: results are streamed by index a little later.
    """

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._not_before = 0.0

    async def completed(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with its prefix; it may be a later one than was given."""
        run_id = snapshot.status.run_id
        known = self._readings.kept(run_id)
        if snapshot.prefix == snapshot.completions or (known and len(known.results) >= snapshot.completions):
            return snapshot
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return snapshot
        reading = await self._readings.fresh(run_id)
        self._not_before = loop.time() + reading.size / READ_RATE
        return snapshot_of(reading.status, reading.prefix)


async def _finished(entries: Sequence[JsonText]) -> list[ItemResult]:
    """The results of finished items among the entries."""
    results = []
    for index, entry in enumerate(entries):
        if index % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        result = item_result_from_json(entry, index)
        if result.status.terminal:
            results.append(result)
    return results


def _in_order(results: list[ItemResult], before: Sequence[ItemResult]) -> list[ItemResult]:
    """One result of each item, in the order of completion.

    That is the order in which the upstream gives them, unless their times say that it has ignored what it was asked
    for. What was given a place before keeps it: followers may have been sent what stands there.
    """
    times = [result.completed_at for result in results if result.completed_at is not None]
    if any(later < earlier for earlier, later in itertools.pairwise(times)):
        latest = max(times)
        results = sorted(results, key=lambda result: (result.completed_at or latest, result.item_index))
    found: dict[int, ItemResult] = {}
    for result in results:
        found.setdefault(result.item_index, result)
    places = dict.fromkeys(result.item_index for result in before if result.item_index in found)
    return [found[index] for index in {**places, **dict.fromkeys(found)}]
