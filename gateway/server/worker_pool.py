"""The worker processes of `serve --workers`: spawned, replaced when one dies, and stopped together.

A worker is a process. It serves clients on ports that all workers share, and relays to the runtime in this process
through a unix socket. Workers are spawned, since a process that has used grpc cannot be forked, and before this process
imports grpc, so that all start at the same time.

A worker reads its settings from its standard input, where they arrive when the runtime can be reached. The end of that
input ends the worker, so no worker outlives this process.
"""

import asyncio
import logging
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from gateway.access.capabilities import Capabilities
from gateway.concurrency.counter_table import CounterTable
from gateway.core.backoff import Backoff
from gateway.core.socket_directory import (
    COUNTERS,
    LINK_SOCKET,
    METRICS_SOCKET,
    RUNTIME_SOCKET,
    make_socket_directory,
)
from gateway.server.identity_settings import IdentitySettings
from gateway.server.settings import ServeSettings, StartError
from gateway.server.shared_ports import SharedPorts
from gateway.server.trace_export import flush_seconds
from gateway.telemetry.process_metrics import WORKER_RESTARTS

READY: Final = "ready"
"""The line that a worker prints when it listens; any other line is the reason why it cannot."""

KILL_SECONDS: Final = 4.2
"""Seconds that workers get to stop, beside `drain_delay` and `drain_seconds` and the time for their last spans, before
they are killed: more than they give to open calls."""

FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 5.0
STABLE_SECONDS: Final = 10.0
"""Seconds before a dead worker is replaced, at first and at most; one that lived for `STABLE_SECONDS` resets them."""

_SETTINGS: Final = frozenset(
    {
        "grpc_address",
        "http_address",
        "max_message_bytes",
        "max_calls",
        "max_waiting_calls",
        "max_memory",
        "body_timeout",
        "log_format",
        "log_level",
        "traces",
        "allow_hosts",
        "allow_origins",
        "tls_cert",
        "tls_key",
        "tls_client_ca",
        "tls_client_auth",
        "blob_api_url",
        "runtime",
        "workers",
        "transport",
        "ui",
        "drain_delay",
        "audit_log",
        "limits",
        "limits_in_all",
        *IdentitySettings.model_fields,
        "drain_seconds",
        "max_connection_age",
        "max_connection_age_grace",
    }
)
"""The settings of the gateway that a worker gets; all workers together get half of the memory. The other ones
belong to the runtime, and may hold secrets."""

_log = logging.getLogger(__name__)


class WorkerPool:
    """The workers of one gateway; they run while the context lasts.

    The runtime has to listen at `upstream` for gRPC, and at `link` for links, before `start`; at `metrics` it tells
    what all processes have counted. The workers serve at `grpc_address` and `http_address`.
    Entering the context raises StartError if these are taken.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.key = Capabilities.new_key()
        """What makes capabilities of this gateway."""
        self.directory = ""
        """Where the sockets between the processes are."""
        self._ports = SharedPorts()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self.upstream = self.link = self.metrics = self.grpc_address = self.http_address = ""

    async def __aenter__(self) -> Self:
        try:
            self.grpc_address = self._ports.reserve(self._settings.grpc_address, "--grpc-address")
            self.http_address = self._ports.reserve(self._settings.http_address, "--http-address")
            self.directory = make_socket_directory()
            self.upstream = f"unix:{self.directory}/{RUNTIME_SOCKET}"
            self.link = f"{self.directory}/{LINK_SOCKET}"
            self.metrics = f"unix:{self.directory}/{METRICS_SOCKET}"
            if self._settings.limits or self._settings.limits_in_all:
                CounterTable.create(f"{self.directory}/{COUNTERS}", self._settings.workers)
            for _ in range(self._settings.workers):
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
        """Let the workers serve, and return when all of them listen. Raises StartError if one cannot."""
        spawned = list(self._processes)
        serving = [self._let_serve(process, number) for number, process in enumerate(spawned, 1)]
        failures = [failure for failure in await asyncio.gather(*serving) if failure]
        if failures:
            raise StartError(failures[0])
        self._keepers = [asyncio.create_task(self._keep(process, number)) for number, process in enumerate(spawned, 1)]

    def living(self) -> list[asyncio.subprocess.Process]:
        """The workers that have not ended, as far as it is known."""
        return [*self._processes]

    async def stop(self) -> None:
        """Let the workers end their calls and exit; kill those that take too long."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers = []
        for process in self._processes:
            _signal(process.terminate)
        ends = [asyncio.create_task(process.wait()) for process in self._processes]
        if ends:
            settings = self._settings
            orderly = settings.drain_delay + settings.drain_seconds + flush_seconds(settings.traces)
            _, late = await asyncio.wait(ends, timeout=orderly + KILL_SECONDS)
            if late:
                _log.warning("%d workers take too long to stop and are killed", len(late))
                for process in self._processes:
                    _signal(process.kill)
            await asyncio.gather(*ends)
        self._processes.clear()

    async def _close(self) -> None:
        await self.stop()
        self._ports.close()
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Modules are not loaded from the working directory.
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

    async def _let_serve(self, process: asyncio.subprocess.Process, number: int) -> str | None:
        """Give a worker its settings, the key and its number. Return None when it listens, or why it cannot."""
        assert process.stdin is not None
        assert process.stdout is not None
        settings = self._settings.model_copy(
            update={
                "runtime": self.upstream,
                "grpc_address": self.grpc_address,
                "http_address": self.http_address,
                "workers": 1,
                "max_memory": self._settings.max_memory // 2 // self._settings.workers,
            }
        )
        text = settings.model_dump_json(include=set(_SETTINGS))
        with suppress(ConnectionError):  # It has died; the end of its output says so as well.
            process.stdin.write(f"{text}\n{self.key.hex()} {number}\n".encode())
            await process.stdin.drain()
        line = (await process.stdout.readline()).decode().strip()
        return None if line == READY else line or "a worker could not start"

    async def _keep(self, process: asyncio.subprocess.Process, number: int) -> None:
        """Watch over a worker: replace it when it dies, and its successors as well."""
        clock = asyncio.get_running_loop().time
        backoff, started = Backoff(FIRST_DELAY, LAST_DELAY), clock()
        while True:
            code = await process.wait()
            self._processes.discard(process)
            WORKER_RESTARTS.inc()
            _log.warning(
                "worker %d has ended with %d; another will take its place", process.pid, code, extra=_fields(process)
            )
            if clock() - started >= STABLE_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())
            started = clock()
            try:
                process = await self._spawn()
            except OSError as error:
                _log.error("no worker can be started: %s", error)
                continue
            failure = await self._let_serve(process, number)
            if failure is None:
                _log.warning("worker %d has taken a dead one's place", process.pid, extra=_fields(process))
            else:
                _log.error("worker %d cannot serve: %s", process.pid, failure, extra=_fields(process))


def _fields(process: asyncio.subprocess.Process) -> dict[str, int]:
    """What the log is told with lines about a worker."""
    return {"worker": process.pid}


def _signal(send: Callable[[], None]) -> None:
    with suppress(ProcessLookupError):
        send()
