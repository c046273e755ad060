"""Passes messages to a blocking upload from the thread that produces them.

gRPC would iterate over inputs in a thread of its own, where some do not work (a database cursor), and hide errors.
"""

import threading
from typing import Generic, TypeVar

M = TypeVar("M")


class Pipe(Generic[M]):
    """An iterator for gRPC that another thread fills. It holds one message at a time."""

    def __init__(self) -> None:
        self._message: M | None = None
        self.closed = False
        self._changed = threading.Condition()

    def __iter__(self) -> "Pipe[M]":
        return self

    def __next__(self) -> M:
        with self._changed:
            self._changed.wait_for(lambda: self._message is not None or self.closed)
            message, self._message = self._message, None
            self._changed.notify_all()
        if message is None:
            raise StopIteration
        return message

    def put(self, message: M) -> bool:
        """Wait until there is room for a message, and put it in. Returns False if the pipe is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._message is None or self.closed)
            if self.closed:
                return False
            self._message = message
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """End the iteration after the message that is in the pipe."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
