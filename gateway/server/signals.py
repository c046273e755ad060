"""Ending a server in order when a signal comes."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from gateway.server.native_alarm import woken_by_signals

EXIT_SECONDS = 4.8
"""Seconds from a signal to the end of the process, at most."""

ALARM_SECONDS = 5.0
"""Seconds from a signal to the end of a process whose interpreter is not to be had. It then ends by SIGALRM."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger(__name__)


def ignore_hangups() -> None:
    """Let SIGHUP end nothing: a terminal that is closed sends it, and who has moved a log. To be called first.

    Nothing waits for it, since the files that may change are looked at in any case. It is not handled, since whatever
    Python handles sets the alarm of `cancel_on_signals`.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def cancel_on_signals(*, force_on_second: bool = True, in_time: bool = True, delay: float = 0.0) -> Iterator[None]:
    """End the block when SIGTERM or SIGINT comes, by cancelling the task that executes it.

    With `force_on_second`, a second signal ends the process at once; without, it is ignored. With `in_time`, the
    process ends after `delay` and `EXIT_SECONDS` whether the block has ended or not: what it keeps is safe at any
    moment. Then any other signal that Python handles ends the block as well: no other is to have a handler.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if force_on_second else signal.SIG_IGN)
        if in_time:
            _exit_in_time(delay)
        task.cancel(end)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    with _alarmed(loop, end) if in_time else nullcontext():
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (end,):
                raise
            task.uncancel()
        finally:
            for number, handler in before.items():
                # Otherwise the event loop leaves handlers of its own behind.
                if loop.remove_signal_handler(number):
                    signal.signal(number, handler)


@contextmanager
def _alarmed(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> Iterator[None]:
    """Let signals call `end` by a socket that also sets the alarm, in place of the one of the event loop."""
    with woken_by_signals() as woken:

        def wake() -> None:
            loop.remove_reader(woken)
            end()

        loop.add_reader(woken, wake)
        try:
            yield
        finally:
            loop.remove_reader(woken)


def _exit_in_time(delay: float) -> None:
    """End the process when its time is up: in a thread, since the event loop may be what has no end.

    A thread needs the interpreter, which a collection or one long call may hold. Then an alarm ends the process. It
    may have been set already: that counts from the signal, and the event loop may have learned of it late.
    """
    alarm = min(signal.getitimer(signal.ITIMER_REAL)[0] or ALARM_SECONDS, ALARM_SECONDS)
    seconds = max(0.0, min(EXIT_SECONDS, alarm - (ALARM_SECONDS - EXIT_SECONDS)))

    def give_up() -> None:
        _log.warning("not everything has ended in time; the process ends now")
        os._exit(0)

    timer = threading.Timer(delay + seconds, give_up)
    timer.daemon = True
    timer.start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, delay + alarm)
