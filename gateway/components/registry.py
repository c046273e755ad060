"""Finds the server of a component by the prefix of its path."""

import asyncio
import shlex
import shutil
import socket
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout

from gateway.components.command_route import CommandRoute
from gateway.components.error import Code, ComponentError
from gateway.components.exchange import Callback
from gateway.components.execution_span import in_execution_span
from gateway.components.executions import Executions
from gateway.components.limits import DEFAULT_LIMITS, Limits
from gateway.components.output import OutputLine
from gateway.components.process import not_found
from gateway.components.requests import ComponentRequests
from gateway.components.route import PATIENCE, Route, Surroundings, UrlRoute
from gateway.components.seats import Seats
from gateway.components.server import Execution
from gateway.concurrency.memory_account import MemoryShare
from gateway.core.client_tls import ClientTls
from gateway.core.model import JsonText, ObservabilityContext
from gateway.peers.http.client import client_session
from gateway.telemetry import tracing
from gateway.telemetry.gateway_metrics import COMPONENT_SERVER_UP

RESERVED_PREFIX: Final = "/builtin"

_IDLE_CONNECTION: Final = 2.0
"""Seconds that an idle connection is kept: less than servers do (5 s in the SDKs), which would else close it under a
request. Such a request must not simply be sent again, since it may have been executed."""
_PROBE_AFTER: Final = 60
"""Seconds of silence after which TCP asks whether the other side still exists: an execution may take hours."""


class ComponentServerView(NamedTuple):
    """A server: the prefix of its components, whether they are available, and the last lines that it has printed."""

    prefix: str
    up: bool
    lines: Sequence[OutputLine]


class Components:
    """The components of all servers, each under the prefix of its route.

    `routes` maps a prefix ("/sdk") to the URL of a server or to the command that starts it; the longest prefix made of
    whole segments wins. Commands run with just `environment`. What requests of
    components hold counts in `share`. Raises ValueError if a route is malformed or names a command that does not exist.
    """

    def __init__(
        self,
        routes: Mapping[str, str],
        *,
        environment: Mapping[str, str] = MappingProxyType({}),
        limits: Limits = DEFAULT_LIMITS,
        share: MemoryShare | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        self._tls = tls
        self._targets = _checked(routes)
        self._executions = {prefix: Executions(prefix) for prefix in self._targets}
        self._gauges = ExitStack()
        self._environment = environment
        self._requests = ComponentRequests(limits, share)
        self._seats = Seats(lambda _: None)
        self._routes: dict[str, Route] = {}
        self._http: ClientSession | None = None
        self._notice: asyncio.TimerHandle | None = None
        self._report: Callable[[str, bool], None] = _nobody

    def on_change(self, report: Callable[[str, bool], None]) -> None:
        """Call `report` with a prefix and whether its components are available: for each now, and after each change."""
        self._report = report
        for prefix in self._targets:
            report(prefix, prefix in self._routes and self._routes[prefix].problem is None)

    async def start(
        self, callback: Callback, blob_api_url: str | None, *, url_for: Callable[[str], str | None] | None = None
    ) -> None:
        """Begin to start and to reach all servers, in the background; `ready` waits for them. Failures are retried.

        `callback` serves the requests of components. Servers are told `blob_api_url`, the URL of the blob API, or in
        place of it what `url_for` says for the name of a server: each life of each has its own.
        """
        self._seats = Seats(url_for or (lambda _: blob_api_url))
        self._http = _client(self._requests.limits, self._tls)
        surroundings = Surroundings(self._http, self._requests, callback, self._seats, self._changed)
        for prefix, target in self._targets.items():
            self._routes[prefix] = (
                UrlRoute(prefix, target, surroundings)
                if _is_url(target)
                else CommandRoute(prefix, shlex.split(target), self._environment, surroundings)
            )
            self._routes[prefix].start()
            self._gauges.enter_context(COMPONENT_SERVER_UP.read_from(partial(_is_up, self._routes[prefix]), prefix))
        self._changed()
        if self._routes:
            self._notice = asyncio.get_running_loop().call_later(PATIENCE, self._tell_missing)

    async def ready(self) -> None:
        """Wait until each server has been introduced or has failed once."""
        await asyncio.gather(*(route.settled.wait() for route in self._routes.values()))

    async def close(self) -> None:
        """Stop the servers that were started here. Executions that still run fail."""
        if self._notice is not None:
            self._notice.cancel()
        self._gauges.close()
        await asyncio.gather(*(route.close() for route in self._routes.values()))
        if self._http is not None:
            await self._http.close()

    @property
    def limits(self) -> Limits:
        """What servers may cost."""
        return self._requests.limits

    @property
    def unavailable(self) -> dict[str, str]:
        """Why components are not available, by the prefixes of their paths."""
        return {prefix: route.problem for prefix, route in self._routes.items() if route.problem is not None}

    @property
    def servers(self) -> list[ComponentServerView]:
        """The servers as they are now."""
        return [
            ComponentServerView(prefix, route.problem is None, route.lines) for prefix, route in self._routes.items()
        ]

    async def resolve(self, component: str, *, patient: bool = False) -> bool:
        """Whether a component exists: False if it has no route, or its server denies it.

        True if its server has been there and is away. Raises ComponentUnavailable if its server has not
        answered yet; `patient` is to wait for an attempt to reach it that has begun.
        """
        prefix = self._prefix(component)
        if prefix is None:
            return False
        return await self._routes[prefix].offers(_below(prefix, component), patient=patient)

    def tasks_of(self, server: str) -> Collection[str]:
        """The tasks that a server executes at the moment, by the name of its life: the scopes of their callbacks."""
        return self._seats.tasks(server)

    def settling(self, component: str) -> Awaitable[object] | None:
        """Something to wait for, while the server of a component starts, before it is asked to execute anything."""
        prefix = self._prefix(component)
        if prefix is None or self._routes[prefix].settled.is_set():
            return None
        return self._routes[prefix].settled.wait()

    async def execute(
        self, component: str, payload: JsonText, *, attempt: int, observability: ObservabilityContext, scope: str
    ) -> JsonText:
        """Execute the component with this full path on an input and return its output.

        `attempt` counts from 1; `scope` names the task for its callbacks, the same in all attempts. Cancelling the call
        abandons the execution. Raises ComponentError if there is no output.
        """
        prefix = self._prefix(component)
        if prefix is None:
            raise ComponentError(Code.COMPONENT_NOT_FOUND, f"no component server is configured for {component!r}")
        timeout = self._timeout(component) if self.limits.execution_timeouts else None
        execution = Execution(_below(prefix, component), payload, attempt, observability, scope, timeout)
        route = self._routes[prefix]
        with self._executions[prefix].counted():
            if tracing.tracer is None:
                return await route.execute(execution)
            return await in_execution_span(tracing.tracer, component, execution, route.execute)

    def _changed(self) -> None:
        for prefix, route in self._routes.items():
            self._report(prefix, route.problem is None)

    def _tell_missing(self) -> None:
        for route in self._routes.values():
            route.tell_missing()

    def _prefix(self, component: str) -> str | None:
        return _longest_prefix(component, self._routes)

    def _timeout(self, component: str) -> float | None:
        """How many seconds an execution of a component may take."""
        timeouts = self.limits.execution_timeouts
        if component in timeouts:
            return timeouts[component]
        prefix = _longest_prefix(component, timeouts)
        return None if prefix is None else timeouts[prefix]


def _nobody(prefix: str, available: bool) -> None:
    """Nobody wants to know."""


def _is_up(route: Route) -> bool:
    return route.problem is None


def _longest_prefix(component: str, prefixes: Container[str]) -> str | None:
    """The longest of the prefixes of a path that is one of these."""
    end = len(component)
    while (end := component.rfind("/", 0, end)) >= 0:
        prefix = component[:end] or "/"
        if prefix in prefixes:
            return prefix
    return None


def _below(prefix: str, component: str) -> str:
    return component if prefix == "/" else component[len(prefix) :]


def _checked(routes: Mapping[str, str]) -> dict[str, str]:
    """The routes with their prefixes in one spelling."""
    checked: dict[str, str] = {}
    for name, target in routes.items():
        prefix = "/" + name.strip("/")
        if not name or "//" in prefix or any(character.isspace() for character in prefix):
            raise ValueError(f"component route {name!r}: the prefix is not a path")
        if prefix == RESERVED_PREFIX or prefix.startswith(RESERVED_PREFIX + "/"):
            raise ValueError(f"component route {name!r}: {RESERVED_PREFIX} is reserved")
        if prefix in checked:
            raise ValueError(f"component route {name!r}: the prefix has a route already")
        _check_target(name, target)
        checked[prefix] = target
    return checked


def _check_target(name: str, target: str) -> None:
    if _is_url(target):
        try:
            valid = bool(urlsplit(target).hostname) and urlsplit(target).port != 0
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"component route {name!r}: the URL is malformed")
        return
    try:
        words = shlex.split(target)
    except ValueError as error:
        raise ValueError(f"component route {name!r}: the command is malformed: {error}") from None
    if not words:
        raise ValueError(f"component route {name!r}: the command is empty")
    if "://" in words[0]:
        raise ValueError(f"component route {name!r}: {words[0]!r} is neither a command nor a URL with http or https")
    if shutil.which(words[0]) is None:
        raise ValueError(f"component route {name!r}: the command {target!r} was not found: {not_found(words[0])}")


def _is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def _client(limits: Limits, tls: ClientTls | None) -> ClientSession:
    """A client without a bound on connections: a component that waits for another must not keep it from running."""
    return client_session(
        idle_seconds=_IDLE_CONNECTION,
        timeout=ClientTimeout(connect=limits.connect_timeout),
        socket_factory=_socket,
        tls=tls,
    )


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices when the other side has vanished without a word."""
    family, type_, protocol, *_ = address
    connection = socket.socket(family, type_, protocol)
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_AFTER // 4)
    return connection
