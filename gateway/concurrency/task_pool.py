"""Many tasks of one owner."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.concurrency.canceller import Canceller
from gateway.concurrency.notify import Notify


def _nothing() -> None:
    pass


class TaskPool:
    """Runs tasks for one task, which uses the pool, waits for changes in it, and closes it in any case.

    It costs less than a group of tasks, and ends its tasks in batches.
    """

    def __init__(self, canceller: Canceller) -> None:
        self._canceller = canceller
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = Notify()
        self._failure: BaseException | None = None
        self._spared: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None], ended: Callable[[], None] = _nothing) -> "asyncio.Task[None]":
        """Start a task, and call `ended` at its end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, ended))
        return task

    def notify(self) -> None:
        """The tasks have changed something that the owner may wait for."""
        self._changed.set()

    async def change(self) -> None:
        """Wait until there has been a change since the last call. Raises what a task has raised."""
        await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def close(self, spared: "asyncio.Task[None] | None" = None) -> None:
        """Cancel the tasks that are left, and wait until they have ended: all but the one that is spared."""
        self._spared = spared
        self._canceller.cancel(task for task in self._tasks if task is not spared)
        while self._others():
            await self._changed.wait()

    def _others(self) -> bool:
        """Whether there are tasks that are not spared."""
        return len(self._tasks) > (self._spared in self._tasks)

    def _done(self, ended: Callable[[], None], task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        ended()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self.notify()
        if not self._tasks or (self._spared is not None and not self._others()):
            self.notify()
