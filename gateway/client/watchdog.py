"""Cancels a call whose next message is overdue: gRPC's blocking streams have no read timeout."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_END_SECONDS = 5.0
"""Seconds that the thread may take to end."""


class Watchdog:
    """Calls `cancel` once if an expected message is overdue. It runs at most one thread, until its block ends."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self.expired = False
        self._cancel = cancel
        self._due: float | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Watchdog":
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            # It may be inside of grpc, which an interrupt has left locked.
            self._thread.join(_END_SECONDS)

    @contextmanager
    def expecting(self, seconds: float | None) -> Iterator[None]:
        """Expect the end of the block within so many seconds; None: there is no limit."""
        if seconds is None:
            yield
            return
        self._expect(time.monotonic() + seconds)
        try:
            yield
        finally:
            with self._changed:
                self._due = None

    def _expect(self, due: float) -> None:
        with self._changed:
            self._due = due
            # A thread that waits for an earlier time wakes by itself; one without a time has to be woken.
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="runs-client-watchdog", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        with self._changed:
            while not self._ended and not self.expired:
                if self._due is None:
                    self._changed.wait()
                elif (remaining := self._due - time.monotonic()) > 0:
                    self._changed.wait(remaining)
                else:
                    self.expired = True
        if self.expired:
            self._cancel()
