"""A limit on the number of tasks that execute at the same time."""

import asyncio
from collections import deque
from contextlib import suppress


class TaskLimiter:
    """At most `limit` tasks execute at the same time; the others wait in the order of arrival.

    A task that has asked for a run is released for good. It will wait for that run, whose own tasks have to execute
    meanwhile: so nested runs end, however low the limit is.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._admitted: set[str] = set()
        self._queue: deque[tuple[str, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many tasks wait to be admitted."""
        return len(self._queue)

    async def acquire(self, task_id: str) -> None:
        """Wait until the task may execute. Call `release` afterwards, also if this call is cancelled."""
        if self._free and not self._queue:
            self._free -= 1
            self._admitted.add(task_id)
            return
        admission = asyncio.get_running_loop().create_future()
        entry = (task_id, admission)
        self._queue.append(entry)
        try:
            await admission
        finally:
            if admission.cancelled():
                with suppress(ValueError):
                    self._queue.remove(entry)

    def release(self, task_id: str) -> None:
        """Admit the next task in place of this one. Releasing a task that was not admitted has no effect."""
        if task_id not in self._admitted:
            return
        self._admitted.discard(task_id)
        self._free += 1
        while self._queue and self._free:
            next_id, admission = self._queue.popleft()
            if not admission.done():
                self._free -= 1
                self._admitted.add(next_id)
                admission.set_result(None)
