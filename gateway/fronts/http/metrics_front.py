"""The front that tells about the gateway: pages by GET and HEAD, at an address of their own.

It is apart from the HTTP front, since who watches a gateway is seldom who uses it: its address can be one that clients
do not reach, and it answers while the HTTP front refuses clients, or stops.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeAlias

from aiohttp import HttpVersion11

from gateway.access.access import Access, OpenAccess
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Overloaded
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.core.owner import Permission
from gateway.core.server_sockets import socket_path
from gateway.core.server_tls import ServerTls
from gateway.fronts.http.connection import HttpConnection
from gateway.fronts.http.entrance import HttpEntrance
from gateway.fronts.http.gate import ConnectionGate
from gateway.fronts.http.host_check import HostCheck, ServedHosts
from gateway.fronts.http.intake import Intake
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.listeners import HttpListeners
from gateway.fronts.http.malformed import VERSIONS, VersionNotSupported
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.request_body import drop_rest
from gateway.fronts.http.responses import HttpResponse, MethodNotAllowed, PathNotFound, refusal
from gateway.fronts.http.tls_port import TlsPort
from gateway.fronts.http.writing import send_whole

PageHandler: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse | None]]
"""Answers a request. It returns None if it has sent the answer in parts."""

SCRAPERS: Final = HttpLimits(connections=256, unread_seconds=10.0)
"""The limits of those who watch: they are few, and read what they ask for."""

_UNSENT_BYTES: Final = 32 << 20
"""How much of all pages may wait to be sent."""

_METHODS: Final = ("GET", "HEAD")


class MetricsFront:
    """Serves `pages`, by their paths, at `address`: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`.

    With an `access` that has identities, pages are for callers who may read metrics. With `tls`, it speaks HTTPS, but
    not on a unix socket. The memory that it takes is its own: it answers while clients have all of theirs.
    """

    def __init__(
        self,
        pages: Mapping[str, PageHandler],
        address: str,
        *,
        access: Access | None = None,
        limits: HttpLimits = SCRAPERS,
        allowed_hosts: Collection[str] = (),
        tls: ServerTls | None = None,
    ) -> None:
        self._pages = pages
        self.address = address
        """Where the front listens; once it has started, with the port that it took."""
        self._entrance = HttpEntrance(access or OpenAccess())
        self._account = MemoryAccount(_UNSENT_BYTES)
        self._limits = limits
        self._allowed_hosts = allowed_hosts
        self._hosts = HostCheck(allowed_hosts)
        self._connections: set[HttpConnection] = set()
        self._gate = ConnectionGate(limits.connections)
        self._intake = Intake()
        self._listeners: HttpListeners | None = None
        self._tls = None
        if tls is not None and socket_path(address) is None:
            self._tls = TlsPort(tls, self._connection, self._gate, limits.head_seconds)

    @property
    def is_encrypted(self) -> bool:
        """Whether it speaks HTTPS."""
        return self._tls is not None

    async def start(self) -> None:
        """Listen. Raises ValueError if the address is malformed, OSError if it cannot be taken."""
        accept = self._connection if self._tls is None else self._tls.accept
        self._listeners = await HttpListeners.open(self.address, accept)
        self.address = self._listeners.address
        self._hosts = self._listeners.host_check(ServedHosts(self._allowed_hosts))

    async def stop(self) -> None:
        """Listen no more, and end all connections."""
        if self._listeners is None:
            return
        self._listeners.close()
        if self._tls is not None:
            self._tls.close()
        if tasks := {connection.task for connection in self._connections if connection.task is not None}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self._listeners.wait_closed()

    def _connection(self) -> HttpConnection:
        return HttpConnection(
            self._answer,
            self._connections,
            self._account.share(),
            limits=self._limits,
            gate=self._gate,
            intake=self._intake,
        )

    async def _answer(self, request: HttpRequest) -> None:
        connection = request.connection
        try:
            response = await self._respond(request)
            if not request.content.is_eof():
                request.closes = True  # No page takes a body.
            if response is not None:
                await self._send(request, response)
            if not request.content.is_eof():
                await drop_rest(request, self._limits.linger_seconds)
        except asyncio.CancelledError as cancelled:
            release_frames(cancelled)
            raise asyncio.CancelledError from None
        finally:
            connection.end()

    async def _send(self, request: HttpRequest, response: HttpResponse) -> None:
        """Send a response, and hold what it takes until it has left this process."""
        connection = request.connection
        with connection.share.hold() as held:
            try:
                held.grow(len(response.body))
            except Overloaded as error:
                response = refusal(request, error)
            send_whole(request, response)
            await connection.drained()

    async def _respond(self, request: HttpRequest) -> HttpResponse | None:
        """The response, unless it has been sent in parts."""
        try:
            request.connection.begin(request)
            if request.version not in VERSIONS:
                request.version, request.closes = HttpVersion11, True
                raise VersionNotSupported
            self._hosts.check(request)
            if self._entrance.access.configured:
                await self._entrance.identify(request)
                request.caller.require(Permission.METRICS)
            page = self._pages.get(request.path)
            if page is None:
                raise PathNotFound(f"nothing is served at this path; there are {', '.join(self._pages)}")
            if request.method not in _METHODS:
                raise MethodNotAllowed(", ".join(_METHODS))
            return await page(request)
        except Exception as error:
            return refusal(request, error_to_tell(error))
