"""How a component server is reached: at a URL, or as a process that is kept running."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiohttp import ClientSession

from gateway.components.error import Code, ComponentError
from gateway.components.exchange import Address, Callback
from gateway.components.limits import Limits
from gateway.components.process import Process
from gateway.components.requests import ComponentRequests
from gateway.components.server import Execution, Server
from gateway.core.backoff import Backoff
from gateway.core.model import JsonText
from gateway.peers.http.client import request
from gateway.peers.http.errors import HttpFailure

_log = logging.getLogger(__name__)

_HEALTH_PAUSE: Final = 0.05
_FIRST_PAUSE: Final = 0.05
_TIME_TO_EXIT: Final = 1.0
"""Seconds from losing a connection until the exit of the process is noticed, if that was the cause."""
_STABLE_AFTER: Final = 10.0
"""Seconds of service after which the end of a server does not count as a failed start."""


class Surroundings(NamedTuple):
    """The things that every route needs."""

    http: ClientSession
    requests: ComponentRequests
    callback: Callback
    blob_api_url: str | None

    @property
    def limits(self) -> Limits:
        """The limits for calling servers."""
        return self.requests.limits

    def server(self, url: str) -> Server:
        """The server at a URL."""
        return Server(Address(self.http, url, self.requests), self.callback, self.blob_api_url)


class Route(ABC):
    """The way to one component server."""

    @abstractmethod
    async def start(self) -> None:
        """Try to reach the server once. A failure is logged, not raised."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the server. Executions fail."""

    @abstractmethod
    async def server(self) -> Server:
        """Return the server, introduced. Raises ComponentError if it cannot be reached now."""

    async def execute(self, execution: Execution) -> JsonText:
        """Execute a component."""
        server = await self.server()
        return await server.execute(execution)


class UrlRoute(Route):
    """To a server that others run. It is introduced when it is needed, and again after its connection was lost."""

    def __init__(self, name: str, url: str, surroundings: Surroundings) -> None:
        self._name = name
        self._server = surroundings.server(url)
        self._introduction = asyncio.Lock()
        self._attempts = 0
        self._failure: ComponentError | None = None

    async def start(self) -> None:
        try:
            await self.server()
        except ComponentError as error:
            _log.warning("%s: %s", self._name, error)

    async def close(self) -> None:
        self._server.end(_closed())

    async def server(self) -> Server:
        if self._server.introduced:
            return self._server
        attempts = self._attempts
        async with self._introduction:
            if not self._server.introduced:
                if self._failure is not None and self._attempts != attempts:
                    raise self._failure.again()  # of an attempt that was made while this one was waiting
                await self._introduce()
        return self._server

    async def _introduce(self) -> None:
        self._failure = None
        try:
            await self._server.handshake()
        except ComponentError as error:
            self._failure = error.again()  # without the frames of this attempt
            raise
        finally:
            self._attempts += 1


class CommandRoute(Route):
    """To a server that is spawned, and spawned again when it ends."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], surroundings: Surroundings
    ) -> None:
        self._name = name
        self._command = command
        self._environment = environment
        self._surroundings = surroundings
        self._state: Server | ComponentError | None = None
        """The server, the reason why it did not start, or None while it starts."""
        self._settled = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._supervisor = asyncio.create_task(self._supervise())
        await self._settled.wait()

    async def close(self) -> None:
        if isinstance(self._state, Server):
            self._state.end(_closed())
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        self._settle(_closed())

    async def server(self) -> Server:
        """Return the server; wait for it while it starts.

        Raises the ComponentError of the last start if it failed, until the next one begins.
        """
        while self._state is None:
            await self._settled.wait()
        if isinstance(self._state, Server):
            return self._state
        raise self._state.again()

    async def execute(self, execution: Execution) -> JsonText:
        server = await self.server()
        try:
            return await server.execute(execution)
        except ComponentError as error:
            if error.unreachable:
                # Else the next attempt would meet the same process before it is known to be gone.
                await server.ended(_TIME_TO_EXIT)
            raise

    async def _supervise(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, self._surroundings.limits.longest_pause)
        while True:
            if await self._served() > _STABLE_AFTER:
                backoff.reset()
            pause = backoff.next()
            _log.warning("%s: starting it again in %.1f s", self._name, pause)
            await asyncio.sleep(pause)
            self._settle(None)

    async def _served(self) -> float:
        """Run the server until it ends, and return for how many seconds it served. Failures of any kind are logged."""
        try:
            return await self._run()
        except Exception:
            _log.exception("%s: the server could not be run", self._name)
            self._settle(ComponentError(Code.NOT_STARTED, "the component server cannot be started", unreachable=True))
            return 0.0

    async def _run(self) -> float:
        """Run the server until it ends, and return for how many seconds it served."""
        limits = self._surroundings.limits
        try:
            process = await Process.spawn(self._name, self._command, self._environment)
        except ComponentError as error:
            self._fail(error)
            return 0.0
        try:
            async with asyncio.timeout(limits.start_timeout):
                server = await self._introduced(await process.announced_port())
            self._settle(server)
            began = time.monotonic()
            reason = f"the component server exited with status {await process.exited()}"
            _log.warning("%s: %s", self._name, reason)
            self._settle(None)
            server.end(ComponentError(Code.CONNECTION_LOST, reason, unreachable=True))
            return time.monotonic() - began
        except TimeoutError:
            self._fail(ComponentError(Code.NOT_STARTED, "the component server did not start in time", unreachable=True))
        except ComponentError as error:
            self._fail(error)
        finally:
            await _to_the_end(process.stop(limits.stop_timeout))
        return 0.0

    async def _introduced(self, port: int) -> Server:
        url = f"http://127.0.0.1:{port}/"
        await _healthy(self._surroundings.http, url + "health")
        server = self._surroundings.server(url)
        await server.handshake()
        return server

    def _fail(self, error: ComponentError) -> None:
        _log.warning("%s: %s", self._name, error)
        self._settle(error)

    def _settle(self, state: Server | ComponentError | None) -> None:
        self._state = state
        if state is None:
            self._settled.clear()
        else:
            self._settled.set()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do work that being cancelled once does not interrupt."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _healthy(http: ClientSession, url: str) -> None:
    """Wait until a server says that it is well."""
    while True:
        try:
            async with request(http, "GET", url, headers={}) as response:
                if response.ok:
                    return
        except HttpFailure:
            pass
        await asyncio.sleep(_HEALTH_PAUSE)


def _closed() -> ComponentError:
    return ComponentError(Code.CONNECTION_LOST, "the gateway is shutting down", unreachable=True)
