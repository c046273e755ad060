"""Reads the parts of results, from objects, or from objects that name many. What was read last stays in memory."""

from collections.abc import AsyncGenerator, Iterable
from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.model import ItemResult
from gateway.runtimes.temporal.kept_results import cancelled_results, get_parts, get_results, told
from gateway.runtimes.temporal.messages import KeptResult, ResultsPart
from gateway.storage.objects import ObjectStore

PARTS: Final = 256
PARTS_SIZE: Final = 64 << 20
"""The results of how many objects stay in memory, and of how many characters."""

INDEXES: Final = 64
"""How many objects with parts stay in memory."""


class PartsReader:
    """Reads from `store`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._results: BoundedCache[str, tuple[KeptResult, ...]] = BoundedCache(PARTS, PARTS_SIZE)
        self._indexes: BoundedCache[str, tuple[ResultsPart, ...]] = BoundedCache(INDEXES)

    async def within(
        self, parts: Iterable[tuple[int, ResultsPart]], first: int, completions: int
    ) -> AsyncGenerator[tuple[int, ResultsPart], None]:
        """The parts that hold results, of these with their places, from the place `first` on, below `completions`.

        Raises Unavailable, and ObjectMissing if results have been deleted.
        """
        for begin, part in parts:
            place = begin
            for each in await self.inner(part):
                if place < completions and place + each.count > first:
                    yield place, each
                place += each.count

    async def results(self, part: ResultsPart) -> list[ItemResult]:
        """The results of a part. Raises as `within` does."""
        if part.cancelled_at is not None:
            return list(cancelled_results(part, part.low, part.high))
        return list(map(told, await self.kept(part)))

    async def kept(self, part: ResultsPart) -> tuple[KeptResult, ...]:
        """The results of a part that were not cancelled, as they were kept. Raises as `within` does."""
        if part.key is None:
            return part.results or ()
        results = self._results.use(part.key)
        if results is None:
            results = await get_results(self._store, part)
            self._results.put(part.key, results, part.size)
        return results

    async def inner(self, part: ResultsPart) -> tuple[ResultsPart, ...]:
        """The parts with results that a part has, or is. Raises as `within` does."""
        if not part.has_parts:
            return (part,)
        assert part.key is not None
        parts = self._indexes.use(part.key)
        if parts is None:
            parts = await get_parts(self._store, part.key)
            self._indexes.put(part.key, parts)
        return parts
