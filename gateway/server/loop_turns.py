"""Measures how long turns of the event loop are: nothing else is done in one."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.telemetry.gateway_metrics import EVENT_LOOP_TURN

SAMPLE_SECONDS: Final = 0.1
"""Seconds between two turns that are measured."""


class LoopTurns:
    """Measures a turn now and then: from a moment in one to the same moment in the next, when nothing is waited for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._distribution = EVENT_LOOP_TURN.labels()
        self._next: asyncio.Handle = self._loop.call_soon(self._begin)

    def close(self) -> None:
        """Measure no more."""
        self._next.cancel()

    def _begin(self) -> None:
        self._next = self._loop.call_soon(self._end, time.monotonic())

    def _end(self, began: float) -> None:
        self._distribution.observe(time.monotonic() - began)
        self._next = self._loop.call_later(SAMPLE_SECONDS, self._begin)


@contextmanager
def measured_turns() -> Iterator[None]:
    """Measure the turns of the running event loop while the block lasts."""
    turns = LoopTurns()
    try:
        yield
    finally:
        turns.close()
