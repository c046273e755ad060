"""Signals that end a command which has something to put away: it does so first, within a time.

Other commands end at once: see `interrupts`.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final, Self, TypeVar

from gateway.concurrency.tasks import retrieve_exception

_T = TypeVar("_T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_CANCELS: Final = 2
"""How often a work is cancelled: what it does at its end may take too long as well."""

_SECONDS: Final = 2.0
"""How long it has to end after each of them."""

_STUCK_SECONDS: Final = 30.0
"""A signal that comes so long after the first one ends the process at once."""


class EndingSignals:
    """Takes these signals while the block lasts. `came` is the first one."""

    def __init__(self) -> None:
        self.came: signal.Signals | None = None
        self._came_at = 0.0
        self._wake: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # What is ignored stays ignored, as SIGHUP below nohup, and SIGINT in background jobs of shells.
            taken = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
            self._before = {each: signal.signal(each, self._note) for each in taken}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    @property
    def exit_code(self) -> int | None:
        """The exit code of a command that such a signal has ended, as shells name it; None: none has come."""
        return None if self.came is None else 128 + self.came

    async def cut(self, work: Coroutine[Any, Any, _T], seconds: float = 0.0) -> _T | None:
        """Do some work to its end, and return its result.

        From the moment when a signal comes, or has come, it has so many `seconds`; then it is cancelled, and the result
        is None.
        """
        loop, signalled = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(signalled.set)
        if self.came is not None:
            signalled.set()
        task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(signalled.wait())
        task.add_done_callback(retrieve_exception)  # Nobody asks for it if this is cancelled.
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=seconds)
        finally:
            self._wake = None
            waiting.cancel()
            await _stopped(task)
        return None if task.cancelled() or not task.done() else task.result()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.came is None:
            self.came, self._came_at = signal.Signals(number), time.monotonic()
            if self._wake is not None:
                self._wake()
        elif time.monotonic() - self._came_at > _STUCK_SECONDS:
            os._exit(128 + self.came)


async def _stopped(task: "asyncio.Task[Any]") -> None:
    """Cancel a task that goes on, and wait until it has ended, or for as long as it has for that."""
    for _ in range(_CANCELS):
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_SECONDS)
