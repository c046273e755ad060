"""Waking one task: an asyncio.Event without its queue, since there may be many thousands, each with one waiter."""

import asyncio


class Notify:
    """`set` wakes the task that waits; if no task does, the next `wait` returns at once. One task waits at a time."""

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake."""
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until `set` has been called since the last `wait`."""
        if not self._is_set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._is_set = False
