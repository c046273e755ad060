"""Commands of the shell that restart a target, and the processes that they leave."""

import asyncio
import os
import select
import signal
from pathlib import Path

import pytest

from gateway.conformance.promise import NotTried
from gateway.conformance.restart_command import restart_by

LONG = 600
"""More seconds than a test may take."""


class Background:
    """A process that a command starts in the background. `starts_it` is the beginning of the command."""

    def __init__(self, folder: Path) -> None:
        self._pipe = folder / "pid"
        os.mkfifo(self._pipe)
        self.starts_it = f"sleep {LONG} & echo $! >'{self._pipe}'"

    async def started(self) -> int:
        """A descriptor of it, once it is there."""
        return await asyncio.to_thread(self.started_meanwhile)

    def started_meanwhile(self) -> int:
        """The same, while nothing else goes on."""
        return os.pidfd_open(int(self._pipe.read_text()))


def has_ended(descriptor: int, seconds: float) -> bool:
    """Whether a process ends within so many seconds."""
    return bool(select.select([descriptor], [], [], seconds)[0])


async def test_a_command_has_to_succeed() -> None:
    with pytest.raises(NotTried, match="exit code 3"):
        await restart_by("exit 3", LONG)()
    await restart_by("exit 0", LONG)()


async def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(NotTried, match=r"not ended within 0\.01 s: --patience"):
        await restart_by(f"sleep {LONG}", 0.01)()


async def test_what_a_command_has_started_ends_with_it(tmp_path: Path) -> None:
    background = Background(tmp_path)
    restart = asyncio.ensure_future(restart_by(f"{background.starts_it}; wait", LONG)())
    descriptor = await background.started()
    restart.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restart
    assert has_ended(descriptor, LONG)
    os.close(descriptor)


async def test_what_a_command_has_started_ends_with_it_at_its_very_beginning(tmp_path: Path) -> None:
    background = Background(tmp_path)
    restart = asyncio.ensure_future(restart_by(f"{background.starts_it}; wait", LONG)())
    for _ in range(2):  # Its task, and the one that starts the shell.
        await asyncio.sleep(0)
    # The loop has not heard yet that the shell is there.
    descriptor = background.started_meanwhile()
    restart.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restart
    assert has_ended(descriptor, LONG)
    os.close(descriptor)


async def test_what_a_command_that_has_succeeded_leaves_goes_on(tmp_path: Path) -> None:
    background = Background(tmp_path)
    restart = asyncio.ensure_future(restart_by(background.starts_it, LONG)())
    descriptor = await background.started()
    try:
        await restart
        assert not has_ended(descriptor, 0.0)
    finally:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
