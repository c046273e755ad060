"""The results of runs at an upstream that gives the results of a run only all at once.

They are kept for a while, so that all pages of a large run cost one request.
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
from gateway.core.runtime import Page, Snapshot, fill_page, text_size, text_sizes
from gateway.runtimes.jsonrpc.answers import unreadable
from gateway.runtimes.jsonrpc.snapshots import canonical, snapshot_of

MAX_CACHED: Final = 256
MAX_TEXT: Final = 32 << 20
"""For how many runs results are kept, and how much text they may hold together, in characters. The latest are kept
whatever their size."""

CONCURRENT: Final = 4
"""The results of how many runs are read at once: each answer may be as large as any."""

PAUSES: Final = (0.0, 0.05, 0.2, 0.5, 1.0)
"""Seconds before each attempt to read results that the upstream counts, but does not show yet."""

READ_RATE: Final = 4 << 20
"""How much result text is read each second to see which leading items of one run have finished, in characters."""

_SLICE: Final = 32
"""How many results are read in a turn of the event loop."""


class CachedResults:
    """The results that a run had when they were read. `complete` says whether the run had ended."""

    def __init__(self, status: RunStatus, results: list[ItemResult]) -> None:
        self.status = status
        self.results = results
        """The results of finished items, in the order of completion."""
        self.complete = status.status.terminal
        self.size = text_sizes(results)
        self._by_index = sorted(range(len(results)), key=lambda place: results[place].item_index)
        self._indexes = [results[place].item_index for place in self._by_index]
        self.prefix = next((at for at, index in enumerate(self._indexes) if at != index), len(self._indexes))

    def page(self, page: Page) -> list[ItemResult]:
        """Return the results of a page, as `gateway.core.runtime.Runtime.results` does."""
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


class ResultsCache:
    """Reads and keeps results. `fetch` returns the answer of runs/get with all results in the order of completion."""

    def __init__(self, fetch: Callable[[str], Awaitable[JsonText]]) -> None:
        self._fetch = fetch
        self._room = asyncio.Semaphore(CONCURRENT)
        self._reads = SingleFlight(self._read)
        self._kept: BoundedCache[str, CachedResults] = BoundedCache(MAX_CACHED, MAX_TEXT)

    def kept(self, run_id: str) -> CachedResults | None:
        """Return the results that were read last; None if they are not kept."""
        return self._kept.get(run_id)

    async def covering(self, run_id: str, completions: int) -> CachedResults:
        """Return at least `completions` results of a run, or all of a run that has ended.

        Raises Unavailable if the upstream does not show as many.
        """
        for pause in PAUSES:
            cached = self._kept.get(run_id)
            if cached is None or not (cached.complete or len(cached.results) >= completions):
                await asyncio.sleep(pause)
                cached = await self.fresh(run_id)
            if cached.complete or len(cached.results) >= completions:
                self._kept.touch(run_id)
                return cached
        raise Unavailable("the upstream does not show all results that it counts", retry_after=1.0)

    async def fresh(self, run_id: str) -> CachedResults:
        """Read the results of a run. Callers that ask for the same run meanwhile share the request."""
        return await self._reads.get(run_id)

    async def close(self) -> None:
        """Stop reading, and forget all results."""
        await self._reads.close()
        self._kept.clear()

    async def _read(self, run_id: str) -> CachedResults:
        async with self._room:
            text = await self._fetch(run_id)
            try:
                status, entries = run_status_and_entries_from_json(text)
                status = canonical(status, run_id)
                results = await _finished(entries)
            except InvalidParams as error:
                raise unreadable(error) from None
        before = self._kept.get(run_id)
        cached = CachedResults(status, _in_order(results, before.results if before else ()))
        self._kept.put(run_id, cached, cached.size)
        return cached


class Prefixes:
    """Finds out which leading items of one run have finished. The counts do not say so, only the results do.

    Results are read again when more items have finished, but the larger they are, the less often. In between, the
    prefix stays as it was, and results are streamed by index a little later.
    """

    def __init__(self, cache: ResultsCache) -> None:
        self._cache = cache
        self._not_before = 0.0

    async def completed(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with its prefix, or a later snapshot of the run."""
        run_id = snapshot.status.run_id
        known = self._cache.kept(run_id)
        if snapshot.prefix == snapshot.completions or (known and len(known.results) >= snapshot.completions):
            return snapshot
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return snapshot
        cached = await self._cache.fresh(run_id)
        self._not_before = loop.time() + cached.size / READ_RATE
        return snapshot_of(cached.status, cached.prefix)


async def _finished(entries: Sequence[JsonText]) -> list[ItemResult]:
    """Return the results of finished items among the entries."""
    results = []
    for index, entry in enumerate(entries):
        if index % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        result = item_result_from_json(entry, index)
        if result.status.terminal:
            results.append(result)
    return results


def _in_order(results: list[ItemResult], before: Sequence[ItemResult]) -> list[ItemResult]:
    """Return one result of each item, in the order of completion.

    That is the order of the answer, unless the times in it say that the upstream has ignored the order that was asked
    for. Results that had a place in `before` keep it: followers may have received them by that place.
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
