"""How many chunks this gateway takes from the engine: as many as its items have places.

An item that waits for runs of its own, or pauses, has given its place back, and so does its chunk: else the runs that
it waits for would have no place when all others wait as well.
"""

import asyncio
import threading
from collections import deque

from temporalio.worker import (
    CustomSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
)

from gateway.flows.item_work import SharedWork


class ItemSlots(CustomSlotSupplier):
    """Gives slots to a worker, which belongs to the present event loop. The SDK calls it in threads of its own, too."""

    def __init__(self, shared: SharedWork) -> None:
        self._shared = shared
        self._taken = 0
        self._closed = False
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._waiters: deque[asyncio.Future[None]] = deque()
        shared.on_waiting = self._wake

    def close(self) -> None:
        """Give no more slots: what the engine would hand out for them is lost when the worker stops."""
        self._closed = True

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        """Wait for a slot."""
        while (permit := self.try_reserve_slot(ctx)) is None:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            # One may have become free since: only from now on is it told.
            if not self._closed:
                self._wake()
            try:
                await waiter
            except asyncio.CancelledError:
                self._wake()
                raise
        return permit

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """A slot if there is one."""
        with self._lock:
            if self._closed or not self._is_free():
                return None
            self._taken += 1
        return SlotPermit()

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """It counts since it was given."""

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """Take a slot back."""
        with self._lock:
            self._taken -= 1
        if self._waiters and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _is_free(self) -> bool:
        return self._taken - self._shared.waiting < self._shared.places.limit

    def _wake(self) -> None:
        """Let as many look again as there are free slots."""
        free = self._shared.places.limit + self._shared.waiting - self._taken
        while self._waiters and free > 0:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
