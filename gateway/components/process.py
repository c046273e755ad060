"""A component server that runs as a process of our own."""

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec

from gateway.components.error import Code, ComponentError
from gateway.components.output import LONGEST_LINE, ServerOutput
from gateway.core.descriptors import inherited_descriptor_limit

_KEEPER: Final = Path(__file__).with_name("keeper.py")
_LONGEST_ANNOUNCEMENT: Final = 16384
_LAST_WORDS: Final = 1.0
"""Seconds for which the output of a process that has exited is still read: its children may hold it open."""


class _Announcement(msgspec.Struct):
    """The first line of a component server."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class _Protocol(SubprocessStreamProtocol):
    """Streams of a process, and its exit, even if other processes hold its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LONGEST_ANNOUNCEMENT, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class Process:
    """A running command, with a keeper that ends it when this process ends. What it prints goes to `output`."""

    def __init__(self, output: ServerOutput, transport: asyncio.SubprocessTransport, protocol: _Protocol) -> None:
        assert protocol.stdin is not None
        assert protocol.stdout is not None
        assert protocol.stderr is not None
        self._output = output
        self._transport = transport
        self._protocol = protocol
        self._lifeline = protocol.stdin
        self._stdout = protocol.stdout
        self._readers = [asyncio.create_task(output.read(protocol.stderr, "stderr"))]

    @classmethod
    async def spawn(cls, output: ServerOutput, command: Sequence[str], environment: Mapping[str, str]) -> "Process":
        """Start a command with just this environment. Raises ComponentError if that is impossible.

        The program is looked up in the search path of this process.
        """
        program = shutil.which(command[0])
        if program is None:
            output.add(not_found(command[0]).encode())
            raise _not_started("the command of the component server was not found")
        # The limit of descriptors is that of this process when it was started.
        keeper = [sys.executable, "-I", "-S", str(_KEEPER), str(os.getpid()), str(inherited_descriptor_limit())]
        loop = asyncio.get_running_loop()
        arguments = [*keeper, program, *command[1:]]
        spawning = asyncio.ensure_future(
            loop.subprocess_exec(
                lambda: _Protocol(loop), *arguments, env=dict(environment), stdin=PIPE, start_new_session=True
            )
        )
        try:
            return cls(output, *await asyncio.shield(spawning))
        except OSError as error:
            raise _not_started(f"the component server cannot be started: {error.strerror}") from error
        except asyncio.CancelledError:
            # uvloop would lose a process that is being spawned.
            with suppress(OSError):
                await cls(output, *await spawning).stop(_LAST_WORDS)
            raise

    async def announced_port(self) -> int:
        """Return the port in the first line that the process prints.

        Raises ComponentError if it prints something else, or exits before.
        """
        try:
            line = await self._stdout.readuntil()
        except asyncio.IncompleteReadError as ended:
            line = ended.partial
        except asyncio.LimitOverrunError:
            line = await self._stdout.read(LONGEST_LINE)
        self._readers.append(asyncio.create_task(self._output.read(self._stdout, "stdout")))
        if not line:
            raise _not_started(f"the component server {await self._how_it_ended()} before it announced its port")
        try:
            return msgspec.json.decode(line, type=_Announcement).port
        except (msgspec.DecodeError, RecursionError):
            self._output.add(line, stream="stdout")
            raise _not_started('the first line of the component server is not {"port": N}') from None

    async def exited(self) -> int:
        """Wait until the process has exited and its output is read; return its status, negative for a signal."""
        await self._protocol.exited.wait()
        await asyncio.wait(self._readers, timeout=_LAST_WORDS)
        return self._transport.get_returncode() or 0

    async def _how_it_ended(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                return f"exited with status {await self.exited()}"
        return "closed its output"

    async def stop(self, patience: float) -> None:
        """Ask everything that the command has started to terminate, and kill it after `patience` seconds."""
        try:
            with suppress(ProcessLookupError):
                self._transport.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._protocol.exited.wait()
            self._lifeline.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.exited()
        finally:
            self._transport.close()
            for reader in self._readers:
                reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


def not_found(program: str) -> str:
    """Why a program was not found, with the place where it was looked for."""
    if os.path.dirname(program):
        return f"{program} is not an executable file"
    return f"{program} is not in PATH, which is {os.environ.get('PATH', os.defpath)}"


def _not_started(why: str) -> ComponentError:
    return ComponentError(Code.NOT_STARTED, why, unreachable=True)
