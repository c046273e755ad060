"""Restarts the target by a command that the user has given."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.conformance.promise import NotTried


def restart_by(command: str, patience: float) -> Callable[[], Awaitable[None]]:
    """A function that runs a command of the shell, which has ended when the target serves again.

    The function raises NotTried if the command fails, or has not ended after `patience` seconds.
    """

    async def restart() -> None:
        starting = asyncio.create_task(_started(command))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The shell may be there already, and what it has started: left alone, that would go on.
            await _end_all(await starting)
            raise
        try:
            async with asyncio.timeout(patience):
                code = await process.wait()
        except TimeoutError:
            late = f"the command that restarts the target has not ended within {patience:g} s: --patience SECONDS"
            raise NotTried(late) from None
        finally:
            if process.returncode is None:
                await _end_all(process)
        if code != 0:
            raise NotTried(f"the command that restarts the target has failed, with the exit code {code}")

    return restart


async def _started(command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        # What it leaves running is the target, which is not to end when the kit is interrupted.
        start_new_session=True,
    )


async def _end_all(process: asyncio.subprocess.Process) -> None:
    """End a shell together with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
