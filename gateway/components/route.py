"""How a component server is reached: at a URL, or as a process, for which see `command_route`."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp import ClientSession
from yarl import URL

from gateway.components.error import Code, ComponentError, RequestNotReceived
from gateway.components.exchange import Address, Callback
from gateway.components.limits import Limits
from gateway.components.output import OutputLine
from gateway.components.requests import ComponentRequests
from gateway.components.seats import Seats
from gateway.components.server import Execution, Server
from gateway.core.backoff import Backoff
from gateway.core.errors import ComponentUnavailable
from gateway.core.internal_errors import release_frames
from gateway.core.model import JsonText
from gateway.telemetry.run_log import of_run

_log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.05
"""Seconds after the first failed attempt to reach or start a server."""

LONGEST_LOOK: Final = 2.0
"""Seconds between two attempts to reach a server at a URL, at most. An attempt is one connection."""

PATIENCE: Final = 2.0
"""Seconds, counted from the start of the gateway, for which a question about a component waits for its server."""

SHORT_PATIENCE: Final = 0.5
"""The same for each question, counted from the question."""

_QUIET: Final = 1.0
"""Seconds between two messages about executions on one server that have failed."""

_RESENDS: Final = 8
"""How often a request is sent again that was not received. More connections than that may have been closed at once."""

_NO_ANSWER: Final = "it has not answered yet"
NO_PORT: Final = 'it has not printed {"port": N} yet'
NO_CONNECTION: Final = "nothing answers yet at the port that it has printed"
_STAGES: Final = (_NO_ANSWER, NO_PORT, NO_CONNECTION)
"""What a server that has not been there, and has not failed, is waited for."""


class Surroundings(NamedTuple):
    """The things that every route needs. `changed` is called when a server has become available, or is not any more."""

    http: ClientSession
    requests: ComponentRequests
    callback: Callback
    seats: Seats
    changed: Callable[[], None]

    @property
    def limits(self) -> Limits:
        """The limits for calling servers."""
        return self.requests.limits

    def server(self, prefix: str, url: str) -> Server:
        """A server at a URL, with components below a prefix, whose life begins."""
        return Server(Address(self.http, url, self.requests), self.callback, self.seats.take(prefix))


class Route(ABC):
    """The way to one component server.

    `problem` says why its components are not available; it is None while they are. `settled` is set when an attempt to
    reach the server has succeeded or failed; until then it is worth waiting.
    """

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        self.problem: str | None = _NO_ANSWER
        self.settled = asyncio.Event()
        self._name = name
        self._fields = {"prefix": name}
        """What the log is told with each line about the server."""
        self._surroundings = surroundings
        self._has_been_there = False
        self._said_missing = False
        self._patient_until = 0.0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._failures = 0
        self._quiet_until = 0.0

    def start(self) -> None:
        """Reach the server, or start it, in the background. Failures are logged, and attempts go on."""
        self._patient_until = asyncio.get_running_loop().time() + PATIENCE
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Let go of the server. Executions fail."""
        self._closed = True
        self._end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    async def server(self) -> Server:
        """Return the server, introduced. Raises ComponentError if it cannot be reached now."""

    async def offers(self, component: str, *, patient: bool) -> bool:
        """Whether the server has a component: True if that cannot be told.

        A server that has been there and is away is taken to have everything. Raises ComponentUnavailable if it has not
        been there, after a short time; `patient` is to wait for the end of an attempt that has begun.
        """
        if self.problem is not None:
            if self._has_been_there:
                return True
            await self._await_news(None if patient else self._patient_until)
        if self.problem is not None:
            raise ComponentUnavailable(
                f"the components below {self._name} are not available yet: {self.problem}", retry_after=1.0
            )
        try:
            server = await self.server()
        except ComponentError:
            return True
        return await server.offers(component)

    async def execute(self, execution: Execution) -> JsonText:
        """Execute a component. A request that a server has certainly not received is sent again."""
        resends = _RESENDS
        while True:
            server = await self.server()
            try:
                return await server.execute(execution)
            except RequestNotReceived as error:
                if not resends:
                    await self._failed(server, execution, error)
                    raise
                resends -= 1
                release_frames(error)
            except ComponentError as error:
                if error.failed_transport:
                    await self._failed(server, execution, error)
                raise

    async def _failed(self, server: Server, execution: Execution, error: ComponentError) -> None:
        """Tell the log that the way to a component has failed: at most once a second, and how often in between."""
        self._failures += 1
        now = asyncio.get_running_loop().time()
        if self._closed or now < self._quiet_until:
            return
        more = f" ({self._failures - 1} more failed since the last such message)" if self._failures > 1 else ""
        _log.warning(
            "%s: attempt %d to execute %s failed: %s%s%s",
            self._name,
            execution.attempt,
            execution.component,
            error,
            more,
            self._details(),
            extra={**self._fields, **of_run(execution.observability.run_id, execution.observability.trace_id)},
        )
        self._failures = 0
        self._quiet_until = now + _QUIET

    @property
    def lines(self) -> Sequence[OutputLine]:
        """The last lines that the server has printed, as far as they are known."""
        return ()

    def _details(self) -> str:
        """What is known of the server, for the end of a message."""
        return ""

    @abstractmethod
    async def _keep(self) -> None:
        """Keep the server reachable until the route is closed."""

    @abstractmethod
    def _end(self) -> None:
        """Make executions fail: the route is closed."""

    @abstractmethod
    def _look(self) -> None:
        """Somebody asks for a server that is not available: look again at once, if that costs little."""

    async def _await_news(self, until: float | None) -> None:
        """Wait until the server is available, or an attempt has failed, or there is no patience left."""
        news = self._news
        self._look()
        if until is not None:
            until = max(until, asyncio.get_running_loop().time() + SHORT_PATIENCE)
            if self.settled.is_set() and not self._looks():
                return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await news.wait()

    def _looks(self) -> bool:
        """Whether an attempt is being made."""
        return True

    def _available(self) -> None:
        if self.problem is not None and self.settled.is_set():
            _log.info("%s: its components are available", self._name, extra=self._fields)
        self._has_been_there = True
        self._tell(None)

    def _unavailable(self, problem: str, details: str) -> None:
        """Note why components are not available. Clients are told the problem; only the log gets the details."""
        if problem != self.problem:
            self._warn_unavailable(problem, details)
        self._tell(problem)

    def _warn_unavailable(self, problem: str, details: str) -> None:
        _log.warning(
            "%s: its components are not available: %s%s",
            self._name,
            problem,
            details,
            extra={**self._fields, "problem": problem},
        )

    def tell_missing(self) -> None:
        """Warn if the server is still waited for, now and whenever it is waited for something else."""
        if self.problem is not None and not self.settled.is_set():
            self._said_missing = True
            self._warn_missing()

    def _warn_missing(self) -> None:
        _log.warning(
            "%s: its components are not available yet: %s%s",
            self._name,
            self.problem,
            self._details(),
            extra={**self._fields, "problem": self.problem},
        )

    def _await(self, stage: str) -> None:
        """Note what the server is waited for, unless there is more to say."""
        if self.problem in _STAGES:
            self.problem = stage
            if self._said_missing:
                self._warn_missing()

    def _tell(self, problem: str | None) -> None:
        changed = self.problem != problem
        self.problem = problem
        self.settled.set()
        news, self._news = self._news, asyncio.Event()
        news.set()
        if changed:
            self._surroundings.changed()


class UrlRoute(Route):
    """To a server that others run. It is introduced, and again after its connection was lost."""

    def __init__(self, name: str, url: str, surroundings: Surroundings) -> None:
        super().__init__(name, surroundings)
        self._shown_url = str(URL(url).with_user(None))
        self._server = surroundings.server(name, url)
        self._introduction = asyncio.Lock()
        self._attempts = 0
        self._failure: ComponentError | None = None
        self._asked = asyncio.Event()

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
            self._unavailable(str(error), f" ({self._shown_url})")
            raise
        finally:
            self._attempts += 1
        self._available()

    async def _keep(self) -> None:
        backoff = Backoff(FIRST_PAUSE, LONGEST_LOOK)
        while True:
            with suppress(ComponentError):
                await self.server()
                backoff.reset()
                await self._server.lost.wait()
                continue
            self._asked.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.next()):
                    await self._asked.wait()

    def _end(self) -> None:
        self._server.end(closed())

    def _look(self) -> None:
        self._asked.set()


def closed() -> ComponentError:
    """The error of executions when the gateway stops."""
    return ComponentError(Code.CONNECTION_LOST, "the gateway is shutting down", unreachable=True)
