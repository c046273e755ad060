"""An alarm that a signal sets at once, even while one long call holds the interpreter. Linux only.

Python's own handlers of signals run between two of its instructions, which may be minutes apart. Until then, Python has
only written a byte to the descriptor of `signal.set_wakeup_fd`. The kernel can answer that byte with another signal,
and the handler of this one is `alarm` of the C library. Handlers get the number of their signal: that is how many
seconds the alarm takes.
"""

import ctypes
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

ARMING_SIGNAL = signal.SIGTRAP
"""Its number, 5, is the time of the alarm in seconds."""


@contextmanager
def woken_by_signals() -> Iterator[socket.socket]:
    """A socket that is readable when a signal has come that Python handles. It then holds the number of the signal.

    From that moment on, SIGALRM ends the process after as many seconds as ARMING_SIGNAL says.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        if hasattr(fcntl, "F_SETSIG"):
            _send_when_readable(reading.fileno())
        earlier = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(earlier)
            _set_async(reading.fileno(), on=False)  # The end of the socket is news as well.


def _send_when_readable(descriptor: int) -> None:
    library = ctypes.CDLL(None)
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.signal.restype = ctypes.c_void_p
    library.signal(ARMING_SIGNAL, ctypes.cast(library.alarm, ctypes.c_void_p))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, ARMING_SIGNAL)
    _set_async(descriptor, on=True)


def _set_async(descriptor: int, *, on: bool) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC if on else flags & ~os.O_ASYNC)
