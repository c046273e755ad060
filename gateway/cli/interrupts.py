"""Ctrl-C ends a command at once, wherever it is.

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


def exit_on_interrupt() -> None:
    """Let SIGINT end this process from now on, unless it is ignored, as in background jobs of shells."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _exit)


def cursor_is_hidden(hidden: bool) -> None:
    """Take note of whether the terminal shows no cursor: an interrupt has to show it again."""
    global _cursor_is_hidden  # noqa: PLW0603
    _cursor_is_hidden = hidden


def _exit(_number: int, _frame: object) -> None:
    try:
        if _cursor_is_hidden and sys.__stdout__ is not None:
            _show_cursor(sys.__stdout__.fileno())
    finally:
        os._exit(EXIT_CODE)


def _show_cursor(stdout: int) -> None:
    """Show the cursor as the last thing: what draws in another thread draws nowhere from now on."""
    terminal = os.dup(stdout)
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    os.write(terminal, _SHOW_CURSOR)
