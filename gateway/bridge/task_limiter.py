"""How many tasks may execute at once, and who waits for a place."""

import asyncio
from collections import deque
from contextlib import suppress


class TaskLimiter:
    """`limit` places, taken in the order of arrival.

    A task that has asked for a run gives its place back for good: it waits for that run, sooner or later, and the run's
    own tasks need places. So nested runs end however few places there are.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._holders: set[str] = set()
        self._line: deque[tuple[str, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many tasks wait for a place."""
        return len(self._line)

    async def take(self, task_id: str) -> None:
        """Wait for a place and take it. Give it back in any case."""
        if self._free and not self._line:
            self._free -= 1
            self._holders.add(task_id)
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (task_id, turn)
        self._line.append(entry)
        try:
            await turn
        finally:
            if turn.cancelled():
                with suppress(ValueError):
                    self._line.remove(entry)

    def give_back(self, task_id: str) -> None:
        """Let the next one have the place of a task, if it has one."""
        if task_id not in self._holders:
            return
        self._holders.discard(task_id)
        self._free += 1
        while self._line and self._free:
            name, turn = self._line.popleft()
            if not turn.done():
                self._free -= 1
                self._holders.add(name)
                turn.set_result(None)
