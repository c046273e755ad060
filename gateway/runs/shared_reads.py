"""Results that are read once for all followers that are at the same point."""

import weakref
from typing import Final, NamedTuple

from msgspec.structs import replace

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.single_flight import SingleFlight
from gateway.core.errors import shutting_down
from gateway.core.model import ItemResult, Nanoseconds
from gateway.core.position import Position
from gateway.core.runtime import Runtime, Snapshot, memory_size
from gateway.runs.update import Reading, Update

SHARED_UPDATES: Final = 64
"""How many updates with results are kept to be shared."""

SHARED_BYTES: Final = 16 << 20
"""How much memory their results may take together; the latest is kept whatever its size."""


class SharedReads:
    """Reads the next results of followers. An update is kept for followers that come to the same point later.

    Updates draw from `share` once, however many followers have them, until nobody has them any more.
    """

    def __init__(self, runtime: Runtime, share: MemoryShare) -> None:
        self._runtime = runtime
        self._share = share
        self._reads = SingleFlight(self._read)
        self._kept: BoundedCache[_Point, Update] = BoundedCache(SHARED_UPDATES, SHARED_BYTES)
        self._closed = False

    async def after(self, snapshot: Snapshot, position: Position, *, last: bool) -> Update:
        """The next update with results after a position.

        `last`: no state follows this one that could fill the gaps between finished items. Raises Unavailable after
        `close`, Overloaded if there is no memory for the results, and what the runtime raises.
        """
        point = _Point(snapshot.status.run_id, snapshot.status.created_at, snapshot.revision, position, last)
        kept = self._kept.get(point)
        if kept is not None:
            return kept
        if self._closed:
            raise shutting_down()
        if point not in self._reads and position.missing(snapshot, last=last) is None:
            return self._update(point, snapshot, [], position)
        return await self._reads.get(point, snapshot)

    async def close(self) -> None:
        """Stop reading: followers that wait for results get Unavailable."""
        self._closed = True
        await self._reads.close()
        self._kept.clear()

    async def _read(self, point: "_Point", snapshot: Snapshot) -> Update:
        position, last = point.position, point.last
        results: list[ItemResult] = []
        reading = None
        while not results and (page := position.missing(snapshot, last=last)) is not None:
            results = await self._runtime.results(point.run_id, page)
            reading = Reading(position, page, snapshot)
            position = position.after(page, results, snapshot)
        return self._update(point, snapshot, results, position, reading)

    def _update(
        self,
        point: "_Point",
        snapshot: Snapshot,
        results: list[ItemResult],
        position: Position,
        reading: Reading | None = None,
    ) -> Update:
        status = replace(snapshot.status, results=results)
        more = position.missing(snapshot, last=point.last) is not None
        update = Update(
            status, snapshot.revision, position, snapshot.completions, snapshot.prefix, more=more, reading=reading
        )
        size = memory_size(results)
        self._count(update, size)
        self._kept.put(point, update, size)
        return update

    def _count(self, update: Update, size: int) -> None:
        if size:
            self._share.take(size)
            weakref.finalize(update, self._share.give_back, size).atexit = False


class _Point(NamedTuple):
    """What makes two followers get the same results."""

    run_id: str
    created_at: Nanoseconds
    """An idempotency key may stand for a run with the id of one that was deleted."""
    revision: int
    position: Position
    last: bool
