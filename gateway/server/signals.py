"""Ending a server in order when a signal comes."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def cancel_on_signals(*, force_on_second: bool = True) -> Iterator[None]:
    """End the block when SIGTERM or SIGINT comes, by cancelling the task that executes it.

    With `force_on_second`, a second signal ends the process at once; without, it is ignored.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if force_on_second else signal.SIG_IGN)
        task.cancel(end)

    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        yield
    except asyncio.CancelledError as cancelled:
        if cancelled.args != (end,):
            raise
        task.uncancel()
