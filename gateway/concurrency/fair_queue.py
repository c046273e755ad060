"""A fair queue: work that comes in floods shares an event loop with everything else."""

import asyncio
import time
from collections import deque

from gateway.concurrency.time_slice import SLICE_SECONDS
from gateway.core.errors import Overloaded

MAX_QUEUE = 1_024
"""How many tasks may wait for admission, unless told otherwise."""


class FairQueue:
    """Lets one task pass in each iteration of the event loop, in order of arrival.

    However many tasks pass before each slice of their work, they hold the loop for one slice in each iteration. A task
    that only waits for something holds no place in the queue.
    """

    def __init__(self, max_queue: int = MAX_QUEUE) -> None:
        self._max_queue = max_queue
        self._queue: deque[asyncio.Future[None]] = deque()
        self._turning = False

    async def admit(self) -> None:
        """Pass with new work. Raises Overloaded if too many tasks are waiting."""
        if len(self._queue) >= self._max_queue:
            raise Overloaded("too many requests at once", retry_after=1.0)
        await self.yield_turn()

    async def yield_turn(self) -> None:
        """Pass with work that has been admitted before."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._queue.append(turn)
        if not self._turning:
            self._turning = True
            loop.call_soon(self._turn)
        await turn

    def _turn(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        self._turning = bool(self._queue)
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)


class FairSlices:
    """Passes a fair queue after each slice of time."""

    __slots__ = ("_fair_queue", "_until")

    def __init__(self, fair_queue: FairQueue) -> None:
        self._fair_queue = fair_queue
        self._until = time.monotonic() + SLICE_SECONDS

    async def checkpoint(self) -> None:
        """Return at once within a slice; pass the queue at the end of one."""
        if time.monotonic() >= self._until:
            await self._fair_queue.yield_turn()
            self._until = time.monotonic() + SLICE_SECONDS
