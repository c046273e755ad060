"""Many tasks of one owner, a bounded number of them at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.concurrency.canceller import Canceller


class TaskPool:
    """Runs tasks, at most `limit` at the same time. One task uses the pool, and closes it in any case.

    It costs less than a group of tasks behind a semaphore, and ends its tasks in batches.
    """

    def __init__(self, limit: int, canceller: Canceller) -> None:
        self._limit = limit
        self._canceller = canceller
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more tasks may start now, for instance because one has failed."""
        return len(self._tasks) >= self._limit or self._failure is not None

    async def free(self) -> None:
        """Wait until one more task may start. Raises what a task has raised."""
        while len(self._tasks) >= self._limit and not self._failure:
            await self._change()
        self._raise()

    def start(self, work: Coroutine[Any, Any, None], ended: Callable[[], None]) -> None:
        """Start a task, and call `ended` at its end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def done(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            ended()
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failure = self._failure or error
            if self._changed is not None and not self._changed.done():
                self._changed.set_result(None)

        task.add_done_callback(done)

    async def join(self) -> None:
        """Wait until all tasks have ended. Raises what a task has raised."""
        while self._tasks and not self._failure:
            await self._change()
        self._raise()

    async def close(self) -> None:
        """Cancel the tasks that are left, and wait until they have ended."""
        self._canceller.cancel(self._tasks)
        while self._tasks:
            await self._change()

    async def _change(self) -> None:
        """Wait until a task has ended."""
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
