"""A stream in step with the client that reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.concurrency.memory_account import MemoryHold
from gateway.fronts.http.connection import HttpConnection

MOMENT: Final = 0.25
"""Seconds after which a client that has not read what was written is behind."""


class Pace:
    """What a stream has written and its client has not read: counted, and waited for.

    A client that is behind has nothing made ready for it: what its stream would send next is read again later.
    """

    __slots__ = ("_connection", "_held", "_unsent")

    def __init__(self, connection: HttpConnection, held: MemoryHold) -> None:
        self._connection = connection
        self._held = held
        self._unsent = 0

    @property
    def paused(self) -> bool:
        """Whether something that was written has not been sent."""
        return self._connection.writing_paused

    @property
    def behind(self) -> bool:
        """Whether the client was behind when it was last looked at."""
        return self._unsent > 0

    async def falls_behind(self) -> bool:
        """Wait a moment until all has been sent; True if it has not: then `catch_up` goes on waiting.

        Raises Overloaded if there is no room for what waits, ClientLeft if the client has left.
        """
        self._count(self._connection.unsent)
        if await self._connection.drained(MOMENT):
            self._count(0)
        return self.behind

    async def catch_up(self) -> None:
        """Wait until all has been sent. Raises as `falls_behind` does."""
        if self.paused:
            self._count(self._connection.unsent)
            await self._connection.drained()
        self._count(0)

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold `size` bytes more. Raises Overloaded if there is no room for them."""
        self._held.grow(size)
        try:
            yield
        finally:
            self._held.shrink(size)

    def _count(self, unsent: int) -> None:
        if unsent > self._unsent:
            self._held.grow(unsent - self._unsent)
        else:
            self._held.shrink(self._unsent - unsent)
        self._unsent = unsent
