"""The whole screen of a terminal, with its keyboard: taken for a while, and given back as it was, whatever ends it."""

import os
import re
import select
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

from gateway.cli.interrupts import EXIT_CODE

_ENDING: Final = {signal.SIGINT: EXIT_CODE, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""The exit codes of commands that these signals end, as shells name them."""

_LOCAL_FLAGS: Final = 3
_CONTROL: Final = 6

_KEY: Final = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)

_KEYS: Final = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
}


class FullScreen:
    """Draws on the screen, and waits for keys. `ended` is the exit code if a signal has come that ends the command."""

    def __init__(self, console: Console, live: Live, keyboard: int | None, wake_up: int) -> None:
        self.console = console
        self.ended: int | None = None
        self._live = live
        self._keyboard = keyboard
        self._wake_up = wake_up

    def draw(self, picture: RenderableType) -> None:
        """Show a picture in place of the one before."""
        self._live.update(picture, refresh=True)

    def keys(self, seconds: float) -> list[str] | None:
        """Wait for keys, so long at most. None: the time has passed; empty: the size of the screen has changed."""
        watched = [self._wake_up] if self._keyboard is None else [self._wake_up, self._keyboard]
        ready, _, _ = select.select(watched, [], [], max(0.0, seconds))
        if self._wake_up in ready:
            os.read(self._wake_up, 4096)
        if self._keyboard not in ready or self._keyboard is None:
            return [] if ready else None
        try:
            typed = os.read(self._keyboard, 4096)
        except OSError:
            typed = b""
        if not typed:  # The terminal has gone, or nobody types any more.
            self._keyboard = None
            return []
        return [_KEYS.get(key, key.decode("latin-1")) for key in _KEY.findall(typed)]

    def note_signal(self, number: int, _frame: FrameType | None) -> None:
        """Remember a signal; the wait for keys ends by itself."""
        self.ended = _ENDING.get(signal.Signals(number), self.ended)


@contextmanager
def full_screen(console: Console) -> Iterator[FullScreen]:
    """Take the screen while the block lasts. Signals that end a command only end the wait for keys meanwhile."""
    with ExitStack() as stack:
        live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        stack.callback(os.close, writer)
        os.set_blocking(writer, False)
        screen = FullScreen(console, live, keyboard, reader)
        for number in (*_ENDING, signal.SIGWINCH):
            # What is ignored stays so, as in background jobs of shells.
            if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                signal.signal(number, screen.note_signal)
                stack.callback(signal.signal, number, before)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
        if keyboard is not None:
            stack.enter_context(_single_keys(keyboard))
        stack.enter_context(live)
        yield screen


@contextmanager
def _single_keys(keyboard: int) -> Iterator[None]:
    """Let keys come one by one, and not be shown. Ctrl-C stays a signal; Ctrl-Z, which would not restore, is none."""
    before = termios.tcgetattr(keyboard)
    wanted = termios.tcgetattr(keyboard)
    wanted[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    wanted[_CONTROL][termios.VMIN], wanted[_CONTROL][termios.VTIME] = 1, 0
    wanted[_CONTROL][termios.VSUSP] = b"\0"
    termios.tcsetattr(keyboard, termios.TCSADRAIN, wanted)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
