"""A command of the shell that the user of the kit has given, and what it has started."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, SubprocessStreamProtocol
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_LIMIT = 1 << 16


class ShellCommand:
    """A command that was started, in a session of its own. `output` is what it prints, if that is read."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: "_ShellProtocol") -> None:
        self._transport = transport
        self._protocol = protocol
        self.output: asyncio.StreamReader | None = protocol.stdout

    async def exit_code(self) -> int:
        """Wait until the shell has ended; what it has started may go on."""
        await self._protocol.exited.wait()
        return self._transport.get_returncode() or 0

    async def end(self) -> None:
        """End the shell and what it has started, whichever of them goes on."""
        with suppress(ProcessLookupError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
        await self._protocol.exited.wait()

    async def end_unless_ended(self) -> None:
        """Do so if the shell goes on; else what it has started is left alone."""
        if not self._protocol.exited.is_set():
            await self.end()

    def close(self) -> None:
        """Read no more of what it prints: a process outside of the session may hold that open."""
        self._transport.close()


class _ShellProtocol(SubprocessStreamProtocol):
    """Notes the end of the shell, which may be before the end of its output."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LIMIT, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        self.exited.set()
        super().process_exited()


@asynccontextmanager
async def shell_command(command: str, *, stdout: int = DEVNULL) -> AsyncIterator[ShellCommand]:
    """A command that is started for the block, which has to see to its end."""
    loop = asyncio.get_running_loop()
    starting = asyncio.ensure_future(
        loop.subprocess_shell(
            lambda: _ShellProtocol(loop), command, stdin=DEVNULL, stdout=stdout, stderr=None, start_new_session=True
        )
    )
    try:
        started = ShellCommand(*await asyncio.shield(starting))
    except asyncio.CancelledError:
        # What it has started by then would go on.
        started = ShellCommand(*await starting)
        await started.end()
        started.close()
        raise
    try:
        yield started
    finally:
        started.close()
