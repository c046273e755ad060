"""The worker processes of `serve --workers`: spawned, replaced when one dies, and stopped together.

They serve clients on ports that they share, and relay to the runtime in this process through a unix socket. They are
spawned, since a process that has used grpc cannot be forked, and before this one imports it, so that both start at the
same time.

A worker lives on its standard input. It waits there for its settings, which arrive when the runtime can be reached; and
the end of the input, which comes however this process ends, ends the worker.
"""

import asyncio
import logging
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from gateway.core.backoff import Backoff
from gateway.server.settings import ServeSettings, StartError

READY: Final = "ready"
"""What a worker prints when it listens; anything else is why it cannot."""

STOP_SECONDS: Final = 10.0
"""How long workers may take to stop before they are killed: longer than they give to open calls."""

FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 5.0
STABLE_SECONDS: Final = 10.0
"""Seconds before the place of a dead worker is taken: the first time, and after others that did not live for long."""

_SETTINGS: Final = frozenset(
    {
        "grpc_address",
        "http_address",
        "max_message_bytes",
        "max_calls",
        "max_waiting_calls",
        "runtime",
        "workers",
        "transport",
    }
)
"""What a worker is told."""

_log = logging.getLogger(__name__)


class WorkerPool:
    """The workers of one gateway; they run while the context lasts.

    `upstream` is where the runtime has to listen before `start`; `grpc_address` and `http_address` are where the
    workers serve. StartError if these are taken.
    """

    def __init__(self, config: ServeSettings) -> None:
        self._config = config
        self._directory = ""
        self._ports: list[socket.socket] = []
        self._processes: set[asyncio.subprocess.Process] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.upstream = self.grpc_address = self.http_address = ""

    async def __aenter__(self) -> Self:
        try:
            self.grpc_address = self._reserve(self._config.grpc_address, "--grpc-address")
            self.http_address = self._reserve(self._config.http_address, "--http-address")
            # Only this user may enter it.
            self._directory = tempfile.mkdtemp(prefix="runs-gateway-")
            self.upstream = f"unix:{self._directory}/runtime.sock"
            for _ in range(self._config.workers):
                await self._spawn()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def start(self) -> None:
        """Let the workers serve, and return when all listen. StartError if one cannot."""
        spawned = list(self._processes)
        failures = [failure for failure in await asyncio.gather(*map(self._let_serve, spawned)) if failure]
        if failures:
            raise StartError(failures[0])
        self._keepers = [asyncio.create_task(self._keep(process)) for process in spawned]

    async def stop(self) -> None:
        """Let the workers end their calls and exit; kill what takes too long."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers = []
        for process in self._processes:
            _signal(process.terminate)
        ends = [asyncio.create_task(process.wait()) for process in self._processes]
        if ends:
            _, late = await asyncio.wait(ends, timeout=STOP_SECONDS)
            if late:
                _log.warning("%d workers take too long to stop and are killed", len(late))
                for process in self._processes:
                    _signal(process.kill)
            await asyncio.gather(*ends)
        self._processes.clear()

    async def _close(self) -> None:
        await self.stop()
        for port in self._ports:
            port.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Modules come from where this program has its own, not from the working directory.
            "-P",
            "-m",
            "gateway.server.worker_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C on a terminal goes to this process, which then stops its workers.
            start_new_session=True,
        )
        self._processes.add(process)
        return process

    async def _let_serve(self, process: asyncio.subprocess.Process) -> str | None:
        """Give a worker its settings, and return when it listens; otherwise, why it does not."""
        assert process.stdin is not None
        assert process.stdout is not None
        config = self._config.model_copy(
            update={
                "runtime": self.upstream,
                "grpc_address": self.grpc_address,
                "http_address": self.http_address,
                "workers": 1,
            }
        )
        # Everything else is the runtime's business, and may hold secrets.
        settings = config.model_dump_json(include=set(_SETTINGS))
        with suppress(ConnectionError):  # It has died, which its output tells as well.
            process.stdin.write(f"{settings}\n".encode())
            await process.stdin.drain()
        line = (await process.stdout.readline()).decode().strip()
        return None if line == READY else line or "a worker could not start"

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        """Put another worker in the place of each that dies."""
        clock = asyncio.get_running_loop().time
        backoff, started = Backoff(FIRST_DELAY, LAST_DELAY), clock()
        while True:
            code = await process.wait()
            self._processes.discard(process)
            _log.warning("worker %d has ended with %d; another will take its place", process.pid, code)
            if clock() - started >= STABLE_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())
            started = clock()
            try:
                process = await self._spawn()
            except OSError as error:
                _log.error("no worker can be started: %s", error)
                continue
            failure = await self._let_serve(process)
            if failure is None:
                _log.warning("worker %d has taken a dead one's place", process.pid)
            else:
                _log.error("worker %d cannot serve: %s", process.pid, failure)

    def _reserve(self, address: str, flag: str) -> str:
        """Take a port that workers can share, and return its address. StartError if it is taken."""
        host, _, text = address.rpartition(":")
        port = int(text)
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, name in dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found):
                port = self._bind(family, name, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(f"cannot listen on {address}: {reason} ({flag})") from None
        return f"{host}:{port}"

    def _bind(self, family: int, name: str, number: int) -> int:
        port = socket.socket(family, socket.SOCK_STREAM)
        self._ports.append(port)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        port.bind((name, number))
        # Only now: bound with it, the socket would take a port that another gateway shares among its own workers.
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return int(port.getsockname()[1])


def _signal(send: Callable[[], None]) -> None:
    with suppress(ProcessLookupError):
        send()
