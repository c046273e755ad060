"""The submits that are under way: when the gateway stops, they end before the server cancels them.

A client that is told CANCELLED does not know that it may ask again. The engine may take seconds for a submit, and is
waited for longer when it is away.
"""

import asyncio
from types import TracebackType
from typing import Final

from gateway.core.errors import shutting_down

LAST_SECONDS: Final = 2.0
"""How long submits that are under way have to end when the gateway stops."""


class OpenSubmits:
    """See the module."""

    def __init__(self) -> None:
        self.open: set[OpenSubmit] = set()
        self.last_ended: asyncio.Future[None] | None = None
        """Has a result when there are none any more, once that is waited for."""

    def submit(self) -> "OpenSubmit":
        """A block in which a submit is under way."""
        return OpenSubmit(self)

    async def end(self) -> None:
        """Wait a moment for those that are under way, and end the others: they raise Unavailable."""
        if self.open:
            self.last_ended = asyncio.get_running_loop().create_future()
            await asyncio.wait({self.last_ended}, timeout=LAST_SECONDS)
        for each in self.open:
            each.end()


class OpenSubmit:
    """See `OpenSubmits.submit`."""

    __slots__ = ("_cancelling", "_ended", "_submits", "_task")

    def __init__(self, submits: OpenSubmits) -> None:
        self._submits = submits
        self._ended = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._submits.open.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        submits = self._submits
        submits.open.discard(self)
        if (waiter := submits.last_ended) is not None and not submits.open and not waiter.done():
            waiter.set_result(None)
        if self._ended and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise shutting_down() from None

    def end(self) -> None:
        """Have the block raise Unavailable."""
        self._ended = True
        self._task.cancel()
