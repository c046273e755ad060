"""Waiting for others for a limited time, by so many tasks at once that each can have no timer of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Patience:
    """Ends waits that take longer than `seconds`, with the error that `late` makes.

    A wait costs an entry in a dictionary, and one timer looks after all of them: a wait ends after at most twice its
    time. A task has one wait at a time.
    """

    def __init__(self, seconds: float, late: Callable[[], Exception]) -> None:
        self._seconds = seconds
        self._error = late
        self._since: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, waiting: Awaitable[T]) -> T:
        """Return the result. Raises the error if it takes too long."""
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = time.monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)
        try:
            return await waiting
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise self._error() from None
            raise
        finally:
            self._since.pop(task, None)
            if self._late:
                self._late.discard(task)

    def close(self) -> None:
        """Look after the waits no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """End the waits that are late: they are the first in the dictionary."""
        latest = time.monotonic() - self._seconds
        late = []
        for task, since in self._since.items():
            if since > latest:
                break
            late.append(task)
        for task in late:
            del self._since[task]
            self._late.add(task)
            task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look) if self._since else None
