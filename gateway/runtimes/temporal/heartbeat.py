"""Tells the engine that an activity executes. By its answer it is known whether the activity has been cancelled."""

import asyncio
from contextvars import copy_context
from typing import Final

from temporalio import activity

HEARTBEAT_SECONDS: Final = 2.0
"""How often the engine is told."""


class Heartbeat:
    """A block in which the engine is told that the present activity executes."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._timer = self._loop.call_later(HEARTBEAT_SECONDS, self._beat, context=self._context)

    def _beat(self) -> None:
        activity.heartbeat()
        self._timer = self._loop.call_later(HEARTBEAT_SECONDS, self._beat, context=self._context)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
