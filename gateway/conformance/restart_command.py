"""Restarts the target by a command that the user has given."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.conformance.promise import NotTried


def restart_by(command: str) -> Callable[[], Awaitable[None]]:
    """A function that runs a command of the shell, which has ended when the target serves again.

    The function raises NotTried if the command fails.
    """

    async def restart() -> None:
        process = await asyncio.create_subprocess_shell(
            command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if code != 0:
            raise NotTried(f"the command that restarts the target has failed, with the exit code {code}")

    return restart
