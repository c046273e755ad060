"""Keeps the event loop responsive through long stretches of cheap work."""

import asyncio
import time
from collections.abc import Generator
from typing import Protocol, TypeVar

_T = TypeVar("_T")

SLICE_SECONDS = 0.0003
"""How long work may hold the event loop before everybody else has a turn."""


class TimeSlice:
    """Gives up the event loop whenever a slice of time has passed."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = time.monotonic() + SLICE_SECONDS

    async def checkpoint(self) -> None:
        """Return at once within a slice; let everybody else run at the end of one."""
        if time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + SLICE_SECONDS


class Checkpoints(Protocol):
    """Gives up the event loop when it is time."""

    async def checkpoint(self) -> None:
        """Let everybody else run if it is their turn."""


async def in_slices(steps: Generator[None, None, _T], pace: Checkpoints) -> _T:
    """Take the steps of some work, with checkpoints between them, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        await pace.checkpoint()
