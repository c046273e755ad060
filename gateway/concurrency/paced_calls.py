"""Short calls that many parties ask for at any time, a few in each turn of the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from gateway.concurrency.batches import BATCH


class PacedCalls:
    """Makes calls in order, at most BATCH in one turn of the event loop, whoever asks for them.

    A call is made at once if that many have not been made in this turn.
    """

    __slots__ = ("_left", "_queue", "_turning")

    def __init__(self) -> None:
        self._queue: deque[Callable[[], None]] = deque()
        self._left = BATCH
        self._turning = False

    def __call__(self, call: Callable[[], None]) -> None:
        """Make a call, now or when it is its turn."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left and not self._queue:
            self._left -= 1
            call()
        else:
            self._queue.append(call)

    def all(self, calls: Sequence[Callable[[], None]]) -> None:
        """Make calls, now if all of them may be made in this turn, or when it is their turn."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._queue or len(calls) > self._left:
            self._queue.extend(calls)
            return
        self._left -= len(calls)
        for call in calls:
            call()

    def _turn(self) -> None:
        if not self._queue:
            self._turning = False
            self._left = BATCH
            return
        number = min(BATCH, len(self._queue))
        self._left = BATCH - number
        asyncio.get_running_loop().call_soon(self._turn)
        for _ in range(number):
            self._queue.popleft()()
