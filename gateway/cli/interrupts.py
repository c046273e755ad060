"""Ctrl-C ends a command at once, wherever it is, and what must not be lost is told before.

A KeyboardInterrupt comes between any two steps of the interpreter. Raised while a module is imported it is a traceback,
and raised where grpc or logging have just taken a lock it leaves the lock taken: then the command never ends. So the
signal raises nothing. A command that waits for a gateway holds nothing that needs an orderly end.

This module is there before all others, so it imports nothing that has to be loaded first.
"""

import _signal  # type: ignore[import-not-found]  # `signal` would load others
import os
import sys

EXIT_CODE = 130
"""As a shell names a program that SIGINT has ended."""

_SHOW_CURSOR = b"\r\n\x1b[?25h"

_cursor_is_hidden = False
_last_words = b""


def exit_on_interrupt() -> None:
    """Let SIGINT end this process from now on, unless it is ignored, as in background jobs of shells."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _exit)


def cursor_is_hidden(hidden: bool) -> None:
    """Take note of whether the terminal shows no cursor: an interrupt has to show it again."""
    global _cursor_is_hidden  # noqa: PLW0603
    _cursor_is_hidden = hidden


def say_if_ended(line: str) -> None:
    """Have Ctrl-C and SIGTERM write this line to standard error before they end this process; none if it is empty."""
    global _last_words  # noqa: PLW0603
    _last_words = f"{line}\n".encode() if line else b""
    if _signal.getsignal(_signal.SIGTERM) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGTERM, _terminate)


def _exit(_number: int, _frame: object) -> None:
    try:
        if _cursor_is_hidden and sys.__stdout__ is not None:
            _show_cursor(sys.__stdout__.fileno())
        _say_last_words()
    finally:
        os._exit(EXIT_CODE)


def _terminate(number: int, _frame: object) -> None:
    """End as SIGTERM does by itself: who waits for the process sees the signal."""
    try:
        _say_last_words()
    finally:
        _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _say_last_words() -> None:
    """Write past the buffers: the signal may have come while one of them was used."""
    if _last_words and sys.__stderr__ is not None:
        os.write(sys.__stderr__.fileno(), _last_words)


def _show_cursor(stdout: int) -> None:
    """Show the cursor as the last thing: what draws in another thread draws nowhere from now on."""
    terminal = os.dup(stdout)
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    os.write(terminal, _SHOW_CURSOR)
