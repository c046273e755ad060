"""The requests that components make while they execute: how many are served at once, and what they hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.components.limits import DEFAULT_LIMITS, Limits
from gateway.concurrency.fair_turns import FairTurns, Line
from gateway.concurrency.memory_account import MemoryAccount, MemoryShare

ALWAYS_SERVED: Final = 16
"""How many requests of an execution are served at once, whatever all others do. Requests may wait for runs, whose
executions make requests of their own: with a limit for all and no such rule, they could wait for each other for ever.
"""

_OVERHEAD: Final = 4096
"""About what serving a request costs in memory besides its text."""


class ComponentRequests:
    """The requests of all executions. They share turns of the event loop, a limit on their number, and memory.

    An execution may have as many requests as it leaves free, so that no one takes all, and ALWAYS_SERVED in any case.
    What they hold is counted in `share`.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, share: MemoryShare | None = None) -> None:
        self.limits = limits
        self.turns = FairTurns()
        self.share = share or MemoryAccount().share()
        self.served = 0
        """How many requests are being served."""

    def of_execution(self, line: Line | None = None) -> "ExecutionRequests":
        """The requests of one more execution, which takes the turns of a line, or of one of its own."""
        return ExecutionRequests(self, line or self.turns.line())

    def leaves_room(self, number: int) -> bool:
        """Whether an execution that has so many requests may have one more."""
        limits = self.limits
        return number < min(limits.pending, ALWAYS_SERVED) or (
            number < limits.pending and number < limits.pending_in_all - self.served
        )


class ExecutionRequests:
    """The requests of one execution. When as many are served as may be, its stream is read no further.

    Each of its requests that ends makes it look again. The first one is always served, so some end as long as they do
    not wait for something that comes later in the same stream.
    """

    def __init__(self, requests: ComponentRequests, line: Line) -> None:
        self.line = line
        self.deliveries = asyncio.Semaphore(requests.limits.deliveries)
        self.number = 0
        self.held = 0
        self._requests = requests
        self._room: asyncio.Future[None] | None = None

    async def wait_for_room(self, size: int) -> None:
        """Wait until a request of `size` bytes may be served. One task waits at a time."""
        while not self._has_room(size + _OVERHEAD):
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def enter(self, size: int) -> "ServedRequest":
        """Begin to serve a request of `size` bytes."""
        self.number += 1
        self._requests.served += 1
        return ServedRequest(self, size + _OVERHEAD)

    def leave(self) -> None:
        """A request has been served."""
        self.number -= 1
        self._requests.served -= 1
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def hold(self, size: int) -> None:
        """Hold so many bytes more, or less if it is negative."""
        self.held += size
        self._requests.share.count(size)

    @asynccontextmanager
    async def delivery(self) -> AsyncIterator[None]:
        """Deliver an answer, when it is its turn."""
        async with self.deliveries:
            await self.line.checkpoint()
            yield

    def _has_room(self, size: int) -> bool:
        if not self.number:
            return True
        requests = self._requests
        return (
            requests.leaves_room(self.number)
            and self.held + size <= requests.limits.pending_size
            and requests.share.fits(size)
        )


class ServedRequest:
    """A request that is being served, and what it holds."""

    __slots__ = ("_requests", "_size")

    def __init__(self, requests: ExecutionRequests, size: int) -> None:
        self._requests = requests
        self._size = 0
        self.hold(size)

    def hold(self, size: int) -> None:
        """Hold so many bytes more, until it has been served."""
        self._size += size
        self._requests.hold(size)

    def served(self, _: object = None) -> None:
        """Hold nothing any more. It is a callback for the task that has served the request, or was cancelled."""
        self._requests.hold(-self._size)
        self._requests.leave()
