"""Large answers that the native transport has taken and not sent yet."""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Any, Final, NamedTuple

from pygrpc_native import NativeGrpcFront

RETRY_SECONDS: Final = tuple(0.001 * 2**count for count in range(8))
"""How long the transport is left alone before it is looked at again, by how often it has been."""


class UnsentAnswers:
    """Large answers that the transport has taken and not sent yet.

    It tells how many it has sent in all, by method and size, and not which: the latest count as sent first, so that
    those of clients that do not read stay.

    An answer whose client leaves as it is given is dropped, and never counted by its size. It shows in that more calls
    are open here than there. For a moment that is also so of others, until this process hears that they have ended: an
    answer is lost if it is missing in two looks, one after the other.
    """

    def __init__(self, front: NativeGrpcFront) -> None:
        self._front = front
        metrics: Any = front.metrics()
        self._size_bounds: list[int] = metrics["size_bounds"]
        self.open_calls: Counter[str] = Counter()
        """By method, the calls that have begun and not ended, those that wait here included."""
        self._given: Counter[_SizeClass] = Counter()
        self._waiting: defaultdict[_SizeClass, list[asyncio.Future[None]]] = defaultdict(list)
        self._waiters: Counter[str] = Counter()
        self._missing: dict[str, int] = {}
        self._pause = RETRY_SECONDS[0]
        self._timer: asyncio.TimerHandle | None = None

    async def sent(self, method: str, size: int) -> None:
        """Return when an answer of so many bytes, which the transport has just taken, has been sent or dropped."""
        kind = _SizeClass(method, bisect_left(self._size_bounds, size))
        self._given[kind] += 1
        sent = asyncio.get_running_loop().create_future()
        self._waiting[kind].append(sent)
        if self._timer is not None:
            self._timer.cancel()
        self._look_after(RETRY_SECONDS[0])
        self._waiters[method] += 1
        try:
            await sent
        finally:
            self._waiters[method] -= 1

    def _look_after(self, pause: float) -> None:
        self._pause = pause
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        metrics: Any = self._front.metrics()
        for kind in list(self._waiting):
            statuses = metrics["methods"][kind.method]["status"].values()
            sent = sum(status["sent"]["buckets"][kind.bucket] for status in statuses)
            self._let_go(kind, len(self._waiting[kind]) - max(0, self._given[kind] - sent))
            if kind not in self._waiting:
                self._given[kind] = sent
        self._missing = {
            method: self._drop_lost(method, metrics["methods"][method])
            for method in {kind.method for kind in self._waiting}
        }
        self._timer = None
        if self._waiting:
            self._look_after(min(2 * self._pause, RETRY_SECONDS[-1]))

    def _let_go(self, kind: "_SizeClass", number: int) -> None:
        """Some of the answers of a kind do not wait any more, the latest first."""
        waiting = self._waiting[kind]
        for _ in range(number):
            sent = waiting.pop()
            if not sent.done():  # The server has not given up on it.
                sent.set_result(None)
        if not waiting:
            del self._waiting[kind]

    def _drop_lost(self, method: str, counts: Any) -> int:
        """Let go of answers that have been missing since the last look, and return how many are missing now."""
        kinds = [kind for kind in self._waiting if kind.method == method]
        open_there: int = counts["started"] - sum(status["count"] for status in counts["status"].values())
        unanswered = self.open_calls[method] - self._waiters[method]
        missing = sum(len(self._waiting[kind]) for kind in kinds) - max(0, open_there - unanswered)
        lost = min(missing, self._missing.get(method, 0))
        for kind in kinds:
            number = min(max(0, lost), len(self._waiting[kind]))
            lost -= number
            missing -= number
            self._given[kind] -= number
            self._let_go(kind, number)
        return missing


class _SizeClass(NamedTuple):
    method: str
    bucket: int
