"""Ctrl-C in the main thread while it waits inside of grpc."""

import signal
import threading
from collections.abc import Callable
from types import TracebackType


class Interruptible:
    """Cancels a call when Ctrl-C comes in the block, and raises KeyboardInterrupt when the block has ended.

    Raised inside of grpc at once, it may leave a lock taken there, and then whatever needs the lock waits for ever. A
    second Ctrl-C is raised at once. Other handlers than the one of the interpreter are left alone, as are threads
    besides the main one, which get no signals.
    """

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel
        self._replaced = False
        self._interrupted = False

    def __enter__(self) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._replaced = True
            signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if self._replaced:
            self._replaced = False
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._interrupted:
            raise KeyboardInterrupt from None

    def _interrupt(self, _number: int, _frame: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        self._cancel()
