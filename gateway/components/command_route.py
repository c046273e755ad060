"""The way to a component server that is started here, and started again when it ends."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import ClientSession

from gateway.components.error import Code, ComponentError
from gateway.components.output import OutputLine, ServerOutput, shown_command
from gateway.components.process import Process
from gateway.components.route import FIRST_PAUSE, NO_CONNECTION, NO_PORT, Route, Surroundings, closed
from gateway.components.server import Execution, Server
from gateway.concurrency.tasks import to_the_end
from gateway.core.backoff import Backoff
from gateway.peers.http.client import request
from gateway.peers.http.errors import HttpFailure, NotConnected

_log = logging.getLogger(__name__)

_HEALTH_PAUSE: Final = 0.05
_TIME_TO_EXIT: Final = 1.0
"""Seconds from losing a connection until the exit of the process is noticed, if that was the cause."""
_STABLE_AFTER: Final = 10.0
"""Seconds of service after which the end of a server does not count as a failed start."""


class CommandRoute(Route):
    """To a server that is spawned, and spawned again when it ends, or takes no connections any more."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], surroundings: Surroundings
    ) -> None:
        super().__init__(name, surroundings)
        self._command = command
        self._environment = environment
        self._output = ServerOutput(name)
        self._state: Server | ComponentError | None = None
        """The server, the reason why it did not start, or None while it starts."""
        self._checking = False
        self._refuses = asyncio.Event()
        """The process is there and takes no connections."""

    async def close(self) -> None:
        await super().close()
        self._state = closed()
        self.settled.set()
        self._output.close()

    async def server(self) -> Server:
        """Return the server; wait for it while it starts.

        Raises the ComponentError of the last start if it failed, until the next one begins.
        """
        while self._state is None:
            await self.settled.wait()
        if isinstance(self._state, Server):
            return self._state
        raise self._state.again()

    async def _failed(self, server: Server, execution: Execution, error: ComponentError) -> None:
        if error.unreachable and server is self._state:
            # Else the next attempt would meet the same process before it is known to be gone.
            await server.ended(_TIME_TO_EXIT)
            if server is self._state and not self._checking:
                await self._check(server)
        await super()._failed(server, execution, error)

    async def _check(self, server: Server) -> None:
        """Have a server started again whose process is there, but takes no connections."""
        self._checking = True
        try:
            if await _refuses(self._surroundings.http, f"{server.url}health") and server is self._state:
                self._refuses.set()
        finally:
            self._checking = False

    @property
    def lines(self) -> Sequence[OutputLine]:
        return self._output.recent

    def _details(self) -> str:
        return f"; its command: {shown_command(self._command)}{self._output.tail()}"

    async def _keep(self) -> None:
        backoff = Backoff(FIRST_PAUSE, self._surroundings.limits.longest_pause)
        while True:
            if await self._served() > _STABLE_AFTER:
                backoff.reset()
            pause = backoff.next()
            _log.info("%s: starting it again in %.1f s", self._name, pause, extra=self._fields)
            await asyncio.sleep(pause)
            self._restart()

    def _end(self) -> None:
        if isinstance(self._state, Server):
            self._state.end(closed())

    def _look(self) -> None:
        pass  # Starting a server that keeps failing costs much.

    def _looks(self) -> bool:
        return self._state is None

    async def _served(self) -> float:
        """Run the server until it ends, and return for how many seconds it served. Failures of any kind are logged."""
        try:
            return await self._run()
        except Exception:
            _log.exception("%s: the server could not be run", self._name, extra=self._fields)
            self._fail(ComponentError(Code.NOT_STARTED, "the component server cannot be started", unreachable=True))
            return 0.0

    async def _run(self) -> float:
        """Run the server until it ends, and return for how many seconds it served."""
        limits = self._surroundings.limits
        self._refuses.clear()
        try:
            process = await Process.spawn(self._output, self._command, self._environment)
        except ComponentError as error:
            self._fail(error)
            return 0.0
        try:
            async with asyncio.timeout(limits.start_timeout):
                self._await(NO_PORT)
                port = await process.announced_port()
                self._await(NO_CONNECTION)
                server = await self._introduced(port)
            self._state = server
            self._available()
            began = time.monotonic()
            reason = ComponentError(Code.CONNECTION_LOST, await self._end_of(process), unreachable=True)
            self._fail(reason)
            self._restart()
            server.end(reason)
            return time.monotonic() - began
        except TimeoutError:
            self._fail(ComponentError(Code.NOT_STARTED, "the component server did not start in time", unreachable=True))
        except ComponentError as error:
            self._fail(error)
        finally:
            await to_the_end(process.stop(limits.stop_timeout))
        return 0.0

    async def _end_of(self, process: Process) -> str:
        """Wait until the server serves no more, and tell why."""
        exited, refuses = asyncio.create_task(process.exited()), asyncio.create_task(self._refuses.wait())
        try:
            await asyncio.wait({exited, refuses}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            refuses.cancel()
            exited.cancel()
            await asyncio.gather(exited, refuses, return_exceptions=True)
        if exited.cancelled():
            return "the component server takes no connections any more"
        return f"the component server exited with status {exited.result()}"

    async def _introduced(self, port: int) -> Server:
        url = f"http://127.0.0.1:{port}/"
        await _healthy(self._surroundings.http, url + "health")
        server = self._surroundings.server(self._name, url)
        await server.handshake()
        return server

    def _restart(self) -> None:
        """From now on it is worth waiting for the next start."""
        self._state = None
        self.settled.clear()

    def _fail(self, error: ComponentError) -> None:
        self._state = error
        self._tell(str(error))
        self._warn_unavailable(str(error), self._details())
        self._output.last.clear()


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


async def _refuses(http: ClientSession, url: str) -> bool:
    """Whether a server takes no connections."""
    try:
        async with request(http, "GET", url, headers={}):
            return False
    except HttpFailure as failure:
        return isinstance(failure, NotConnected)
