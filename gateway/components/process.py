"""A component server that runs as a process of our own."""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec

from gateway.components.error import Code, ComponentError
from gateway.core.descriptors import inherited_descriptor_limit

_log = logging.getLogger(__name__)
_output_log = logging.getLogger("gateway.components.output")
"""What component servers print. By itself, since some print a lot."""

_DIE_WITH_PARENT: Final = Path(__file__).with_name("die_with_parent.py")
_CHUNK: Final = 4096
_LONGEST_LINE: Final = 16384
_LAST_WORDS: Final = 1.0
"""Seconds for which the output of a process that has exited is still read: its children may hold it open."""


class _Announcement(msgspec.Struct):
    """The first line of a component server."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class _Protocol(SubprocessStreamProtocol):
    """Streams of a process, and its exit, even if other processes hold its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LONGEST_LINE, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class Process:
    """A running command in a process group of its own. What it prints goes to the log under `name`."""

    def __init__(self, name: str, transport: asyncio.SubprocessTransport, protocol: _Protocol) -> None:
        assert protocol.stdout is not None
        assert protocol.stderr is not None
        self._name = name
        self._transport = transport
        self._protocol = protocol
        self._output = protocol.stdout
        self._readers = [asyncio.create_task(self._log_lines(protocol.stderr, logging.INFO))]

    @classmethod
    async def spawn(cls, name: str, command: Sequence[str], environment: Mapping[str, str]) -> "Process":
        """Start a command with just this environment. Raises ComponentError if that is impossible.

        The program is looked up in the search path of this process. On Linux it dies with this process.
        """
        program = shutil.which(command[0])
        if program is None:
            raise _not_started("the command of the component server was not found")
        arguments = [program, *command[1:]]
        if sys.platform == "linux":
            # The limit of descriptors is that of this process when it was started.
            given = [str(os.getpid()), str(inherited_descriptor_limit())]
            arguments = [sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), *given, *arguments]
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _Protocol(loop),
                *arguments,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("%s: cannot be started: %s", name, error)
            raise _not_started("the component server cannot be started") from error
        return cls(name, transport, protocol)

    async def announced_port(self) -> int:
        """Return the port in the first line that the process prints.

        Raises ComponentError if it prints something else, or exits before.
        """
        try:
            line = await self._output.readline()
        except ValueError:
            line = b"..."
        self._readers.append(asyncio.create_task(self._log_lines(self._output, logging.DEBUG)))
        if not line:
            raise _not_started("the component server ended before it announced its port")
        try:
            return msgspec.json.decode(line, type=_Announcement).port
        except (msgspec.DecodeError, RecursionError):
            _log.warning("%s: printed %r instead of its port", self._name, line[:200])
            raise _not_started('the first line of the component server is not {"port": N}') from None

    async def exited(self) -> int:
        """Wait until the process has exited, and return its exit status, negative for a signal."""
        await self._protocol.exited.wait()
        return self._transport.get_returncode() or 0

    async def stop(self, patience: float) -> None:
        """Ask the whole process group to terminate, and kill it after `patience` seconds; release everything."""
        try:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.exited()
            self._signal(signal.SIGKILL)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.exited()
                async with asyncio.timeout(_LAST_WORDS):
                    await asyncio.wait(self._readers)
        finally:
            self._signal(signal.SIGKILL)
            self._transport.close()
            for reader in self._readers:
                reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), number)

    async def _log_lines(self, stream: asyncio.StreamReader, level: int) -> None:
        """Log lines as they come, without holding up the event loop or growing with them."""
        partial = b""
        while chunk := await stream.read(_CHUNK):
            *lines, partial = (partial + chunk).split(b"\n")
            if len(partial) > _LONGEST_LINE:
                lines, partial = [*lines, partial], b""
            for line in lines:
                self._log_line(line, level)
            await asyncio.sleep(0)
        self._log_line(partial, level)

    def _log_line(self, line: bytes, level: int) -> None:
        if line.strip():
            _output_log.log(level, "%s: %s", self._name, line.decode(errors="backslashreplace").rstrip())


def _not_started(why: str) -> ComponentError:
    return ComponentError(Code.NOT_STARTED, why, unreachable=True)
