"""Commands of the shell that restart a target, and the processes that they leave."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gateway.conformance.promise import NotTried
from gateway.conformance.restart_command import restart_by
from tests.support.background_process import LONG, BackgroundProcess, has_ended


async def test_a_command_has_to_succeed() -> None:
    with pytest.raises(NotTried, match="exit code 3"):
        await restart_by("exit 3", LONG)()
    await restart_by("exit 0", LONG)()


async def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(NotTried, match=r"not ended within 0\.01 s: --patience"):
        await restart_by(f"sleep {LONG}", 0.01)()


async def cancel_with_all(restart: "asyncio.Future[None]", descriptor: int) -> None:
    """Cancel a restart. What its command has started, which has this descriptor, ends with it."""
    restart.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restart
    assert has_ended(descriptor, LONG)
    os.close(descriptor)


async def test_what_a_command_has_started_ends_with_it(tmp_path: Path) -> None:
    background = BackgroundProcess(tmp_path)
    restart = asyncio.ensure_future(restart_by(f"{background.starts_it} wait", LONG)())
    descriptor = await asyncio.to_thread(background.started)
    await cancel_with_all(restart, descriptor)


async def test_what_a_command_has_started_ends_with_it_at_its_very_beginning(tmp_path: Path) -> None:
    background = BackgroundProcess(tmp_path)
    restart = asyncio.ensure_future(restart_by(f"{background.starts_it} wait", LONG)())
    for _ in range(2):  # Its task, and the one that starts the shell.
        await asyncio.sleep(0)
    # The loop has not heard yet that the shell is there.
    descriptor = background.started()
    await cancel_with_all(restart, descriptor)


async def test_what_a_command_that_has_succeeded_leaves_goes_on(tmp_path: Path) -> None:
    background = BackgroundProcess(tmp_path)
    restart = asyncio.ensure_future(restart_by(background.starts_it, LONG)())
    descriptor = await asyncio.to_thread(background.started)
    try:
        await restart
        assert not has_ended(descriptor, 0.0)
    finally:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
