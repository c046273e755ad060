"""When runs have to have ended: those that have not are cancelled."""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.concurrency.tasks import retrieve_exception
from gateway.core.clock import now
from gateway.core.errors import Unavailable
from gateway.core.internal_errors import release_frames, report_unexpected
from gateway.flows.new_record import timeout_reason
from gateway.flows.run_fields import fields_of
from gateway.flows.run_record import RunRecord

_TICK_BITS: Final = 26
"""Deadlines are met to 2**26 nanoseconds: 67 ms."""

LONGEST_SLEEP: Final = 60.0
"""Seconds until the time of day is looked at again at the latest: somebody may set the clock."""

TOGETHER: Final = 64
"""How many runs are cancelled at once."""


def is_over(record: RunRecord) -> bool:
    """Whether the deadline of a run has passed."""
    return record.deadline is not None and now() >= record.deadline


class Deadlines:
    """Cancels runs at their deadlines by `expire`, which is told the run and the reason.

    `run_timeout` is how many seconds any run may take. Runs with about the same deadline share a timer, so that they
    may be many, and most end before.
    """

    def __init__(self, expire: Callable[[str, str], Awaitable[object]], run_timeout: float | None = None) -> None:
        self.run_timeout = run_timeout
        self._expire = expire
        self._ticks: dict[int, dict[str, RunRecord]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due: deque[RunRecord] = deque()
        self._expiring: set[asyncio.Task[None]] = set()
        self._closed = False

    def add(self, record: RunRecord) -> None:
        """A run that has a deadline has not ended."""
        tick = _tick(record)
        runs = self._ticks.get(tick)
        if runs is None:
            runs = self._ticks[tick] = {}
            heapq.heappush(self._order, tick)
            if self._order[0] == tick:
                self._set_timer()
        runs[record.run_id] = record

    def discard(self, record: RunRecord) -> None:
        """The run has ended."""
        self._ticks.get(_tick(record), {}).pop(record.run_id, None)

    async def close(self) -> None:
        """Let runs go on: the next start cancels those whose time is up."""
        self._closed = True
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._expiring:
            task.cancel()
        await asyncio.gather(*self._expiring, return_exceptions=True)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._order and not self._closed:
            delay = ((self._order[0] << _TICK_BITS) - now()) / 1e9
            self._timer = asyncio.get_running_loop().call_later(min(max(delay, 0), LONGEST_SLEEP), self._look)

    def _look(self) -> None:
        reached = now() >> _TICK_BITS
        while self._order and self._order[0] <= reached:
            self._due.extend(self._ticks.pop(heapq.heappop(self._order)).values())
        self._set_timer()
        self._start_some()

    def _start_some(self) -> None:
        while self._due and len(self._expiring) < TOGETHER:
            task = asyncio.create_task(self._end(self._due.popleft()))
            self._expiring.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        retrieve_exception(task)
        self._expiring.discard(task)
        self._start_some()

    async def _end(self, record: RunRecord) -> None:
        try:
            await self._expire(record.run_id, timeout_reason(record, self.run_timeout))
        except Unavailable as error:
            # It has stopped, and ends when the state can be written; or the gateway stops.
            release_frames(error)
        except Exception as error:
            report_unexpected(error, fields_of(record))


def _tick(record: RunRecord) -> int:
    return ((record.deadline or 0) >> _TICK_BITS) + 1
