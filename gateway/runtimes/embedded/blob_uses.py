"""Which blobs have been used lately: those are kept, whatever refers to them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from gateway.core.clock import now
from gateway.runtimes.embedded.upkeep import Upkeep

MAX_NOTED: Final = 100_000
"""How many uses are noted in memory at most. Further ones are not: blobs are used again, or put."""


class BlobUses:
    """Notes uses, and lets blobs go that have had none. `forget` is called for each before it goes.

    A blob that a submit names must not go before its run is accepted. So uses are noted before blobs are read, and who
    uses a blob that is about to go waits until it has gone.
    """

    def __init__(self, upkeep: Upkeep, forget: Callable[[str], None]) -> None:
        self._upkeep = upkeep
        self._forget = forget
        self._used: set[str] = set()
        self._earlier: frozenset[str] = frozenset()
        self.going: frozenset[str] = frozenset()
        """Those that are about to go."""
        self._gone = asyncio.Event()

    def note(self, blob_id: str) -> None:
        """A blob is used."""
        if blob_id not in self._used and len(self._used) < MAX_NOTED:
            self._used.add(blob_id)

    async def gone(self, blob_id: str) -> None:
        """Wait until a blob has gone that is about to."""
        while blob_id in self.going:
            await self._gone.wait()

    async def keep(self) -> None:
        """Have the uses since the last call kept in the journal. Raises Unavailable as it does."""
        used, self._used = frozenset(self._used), set()
        self._earlier |= used
        if used:
            await self._upkeep.use_blobs(used, now())
        self._earlier = used

    async def let_go(self, blob_ids: Iterable[str]) -> int:
        """Delete blobs, but for those that have been used since they were found idle. Return how many."""
        going = frozenset(blob_ids) - self._used - self._earlier
        if not going:
            return 0
        self.going, self._gone = going, asyncio.Event()
        try:
            for blob_id in going:
                self._forget(blob_id)
            await self._upkeep.delete_blobs(sorted(going))
        finally:
            self.going = frozenset()
            self._gone.set()
        return len(going)
