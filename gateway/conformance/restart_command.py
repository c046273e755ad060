"""Restarts the target by a command that the user has given."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.conformance.promise import NotTried
from gateway.conformance.shell_command import shell_command


def restart_by(command: str, patience: float) -> Callable[[], Awaitable[None]]:
    """A function that runs a command of the shell, which has ended when the target serves again.

    The function raises NotTried if the command fails, or has not ended after `patience` seconds.
    """

    async def restart() -> None:
        async with shell_command(command) as running:
            try:
                async with asyncio.timeout(patience):
                    code = await running.exit_code()
            except TimeoutError:
                late = f"the command that restarts the target has not ended within {patience:g} s: --patience SECONDS"
                raise NotTried(late) from None
            finally:
                # What a command that has ended leaves running is the target.
                await running.end_unless_ended()
        if code != 0:
            raise NotTried(f"the command that restarts the target has failed, with the exit code {code}")

    return restart
