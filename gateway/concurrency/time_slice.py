"""Keeps the event loop responsive through long stretches of cheap work."""

import asyncio
import time

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
