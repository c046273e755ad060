"""The keyboard of the whole screen: keys, the time that passes, and a terminal that has gone."""

import os
import signal
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.live import Live

from gateway.cli.full_screen import FullScreen


class Typing:
    """A screen, and both ends of what wakes it up."""

    def __init__(self) -> None:
        self.keyboard, self.typist = os.pipe()
        self.wake_up, self.waker = os.pipe()
        self.screen = FullScreen(Console(), Live(), self.keyboard, self.wake_up)


@pytest.fixture
def typing() -> Iterator[Typing]:
    typing = Typing()
    yield typing
    for end in (typing.keyboard, typing.wake_up, typing.waker):
        os.close(end)


def test_keys_have_names(typing: Typing) -> None:
    os.write(typing.typist, b"sq\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[1;5C")
    assert typing.screen.keys(9) == ["s", "q", "up", "down", "page up", "page down", "home", "\x1b[1;5C"]
    os.close(typing.typist)
    assert typing.screen.keys(9) == [], "the end of the keyboard is no key"
    assert typing.screen.keys(0) is None, "and it is looked at no more"


def test_time_passes_and_signals_wake(typing: Typing) -> None:
    assert typing.screen.keys(0) is None
    assert typing.screen.keys(-1) is None
    os.write(typing.waker, b"\x1c")
    assert typing.screen.keys(9) == []
    typing.screen.note_signal(signal.SIGWINCH, None)
    assert typing.screen.ended is None
    typing.screen.note_signal(signal.SIGTERM, None)
    typing.screen.note_signal(signal.SIGWINCH, None)
    assert typing.screen.ended == 143
    os.close(typing.typist)
