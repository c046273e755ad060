"""An event loop that counts its turns: an answer that takes too many of them never comes."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

MAX_TURNS: Final = 20_000
"""How many turns an answer may take, of which each is a slice of work."""


class BoundedLoop(asyncio.SelectorEventLoop):
    """An event loop for one thing at a time, with a bound on its turns."""

    def __init__(self) -> None:
        super().__init__()
        self._left = MAX_TURNS
        self._current: asyncio.Task[Any] | None = None

    def result(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of some work. Raises AssertionError if it takes more than MAX_TURNS turns."""
        self._left = MAX_TURNS
        task: asyncio.Task[T] = self.create_task(work)
        self._current = task
        try:
            return self.run_until_complete(task)
        except asyncio.CancelledError:
            raise AssertionError(f"no answer within {MAX_TURNS:,} turns of the loop") from None

    def _run_once(self) -> None:
        self._left -= 1
        if self._left == 0 and self._current is not None:
            self._current.cancel()
        super()._run_once()  # type: ignore[misc]
