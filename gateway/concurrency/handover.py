"""Handing things from a thread to the event loop."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """Hands items from one thread to `take`, which the event loop calls in their order.

    `call_soon_threadsafe` wakes the event loop while the thread still holds the interpreter, so the loop wakes only to
    wait for that: on a machine that has nothing else to do, this is a fifth of the time that a call takes. To write to
    a pipe lets go of the interpreter first.
    """

    def __init__(self, take: Callable[[T], None]) -> None:
        self._take = take
        self._items: deque[T] = deque()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read, self._wake)

    def put(self, item: T) -> None:
        """Hand an item over. Called by the thread."""
        self._items.append(item)
        # The event loop takes items until there are none, so one that comes to others needs to wake nobody.
        if len(self._items) == 1:
            os.write(self._write, b"\0")

    def close(self) -> None:
        """Take no more; the thread has ended."""
        self._loop.remove_reader(self._read)
        os.close(self._read)
        os.close(self._write)

    def _wake(self) -> None:
        os.read(self._read, 64)
        self._take_all()

    def _take_all(self) -> None:
        try:
            while self._items:
                self._take(self._items.popleft())
        finally:
            if self._items:  # One has failed, which the event loop reports.
                self._loop.call_soon(self._take_all)
