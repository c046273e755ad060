"""The HTTP front: JSON-RPC 2.0 by POST at `/`, event streams of runs there, the blob API, health, the live page.

What JSON-RPC answers has the HTTP status 200, errors included, as its clients expect; notifications alone get 202 and
no body. Another status means that the front refused a request before JSON-RPC read it.

Bodies must be declared as JSON, or as `application/octet-stream` for binary blobs: a page of another site can send
those from a browser only where it is allowed to, and nothing here allows it.

The front shares its event loop with others. A request passes a fair queue before it is worked on, so that a flood of
them takes one slice of work in each iteration of the loop; while a call waits for a run it holds no place there. A
slice is short: long bodies are read a window at a time, since their parser would keep the interpreter lock.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import HttpVersion11

from gateway.access.access import Access, OpenAccess
from gateway.access.method_permissions import is_for_everybody
from gateway.adapter import jsonrpc
from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.memory_account import MemoryAccount, MemoryHold
from gateway.concurrency.stream_lives import StreamLives
from gateway.core.errors import GatewayError, Overloaded, QuotaExceeded
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.core.server_sockets import socket_path
from gateway.core.server_tls import ServerTls
from gateway.fronts.http import event_stream
from gateway.fronts.http.blob_routes import BlobRoutes, RouteHandler
from gateway.fronts.http.coded_answers import CodedAnswers
from gateway.fronts.http.connection import ClientLeft, HttpConnection
from gateway.fronts.http.cross_origin import CrossOrigin
from gateway.fronts.http.entrance import BLOBS_PATH, HttpEntrance
from gateway.fronts.http.gate import ConnectionGate
from gateway.fronts.http.host_check import LOOPBACK, HostCheck, ServedHosts
from gateway.fronts.http.intake import Intake
from gateway.fronts.http.lane import Lane
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.listeners import HttpListeners
from gateway.fronts.http.malformed import VERSIONS, VersionNotSupported
from gateway.fronts.http.methods import JsonRpcMethods, RefusedAnswer
from gateway.fronts.http.observed_methods import denied
from gateway.fronts.http.observed_requests import begin_request, end_request
from gateway.fronts.http.overview_stream import OverviewEvents, OverviewRoute
from gateway.fronts.http.pace import Pace
from gateway.fronts.http.probes import Probes
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.request_body import (
    SMALL_TEXT,
    check_expectation,
    check_transfer_coding,
    declares_json,
    drop_rest,
    read_request_body,
    text_bytes,
)
from gateway.fronts.http.responses import (
    EMPTY,
    JSON,
    RPC_PATH,
    HttpResponse,
    MethodNotAllowed,
    PathNotFound,
    UnsupportedMediaType,
    call_response,
)
from gateway.fronts.http.sending import cut, send_parts
from gateway.fronts.http.tls_port import TlsPort
from gateway.fronts.http.ui_files import UiFiles
from gateway.fronts.http.writing import send_whole
from gateway.telemetry.observed_calls import ObservedCall


class HttpFront:
    """Serves JSON-RPC, blobs and health at `address`: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`.

    With `reuse_port`, other processes may listen on the same port; the kernel shares the connections out. What
    the front holds for clients draws from `account`. `access` finds callers; without it, they are anybody. With `tls`,
    it speaks HTTPS, except on a unix socket. With `only_blobs` there is no JSON-RPC;
    with `ui` there is the live page, and with `overview` what makes its events of the gateway. `lane` serves paths of
    its own.
    """

    def __init__(
        self,
        methods: JsonRpcMethods,
        address: str,
        *,
        access: Access | None = None,
        account: MemoryAccount | None = None,
        limits: HttpLimits | None = None,
        reuse_port: bool = False,
        hosts: ServedHosts = LOOPBACK,
        tls: ServerTls | None = None,
        only_blobs: bool = False,
        ui: bool = False,
        overview: OverviewEvents | None = None,
        lane: Lane | None = None,
    ) -> None:
        self._methods = methods
        self._services = services = methods.services
        self._entrance = HttpEntrance(OpenAccess() if access is None else access)
        self._address, self._reuse_port = address, reuse_port
        self._account, self._limits = account or MemoryAccount(), limits or HttpLimits()
        self._served_hosts, self._hosts = hosts, HostCheck(hosts.allowed)
        self._fair_queue = methods.fair_queue
        # Streams have a queue of their own: new requests must not wait behind thousands of updates to send.
        self._lives = StreamLives(self._limits.connection_age)
        share = self._account.share("event_streams")
        self._streams = event_stream.EventStreams(services, FairQueue(), share, self._lives)
        self._overview = OverviewRoute(overview, self._entrance, self._lives)
        self._answers = CodedAnswers(self._fair_queue)
        self._blobs = BlobRoutes(services, self._entrance, self._answers, self._fair_queue, self._body)
        self._routes = self._posts(only_blobs=only_blobs) | self._overview.table
        self._connections: set[HttpConnection] = set()
        self._listeners: HttpListeners | None = None
        self._probes = Probes(services.readiness, names_components=not self._entrance.access.configured)
        self._ui = UiFiles() if ui else None
        self._lane = lane
        self._gate, self._intake = ConnectionGate(self._limits.connections), Intake(lane, CrossOrigin(hosts.origins))
        self._tls = None if tls is None else TlsPort(tls, self._connection, self._gate, self._limits.head_seconds)
        self._open: set[asyncio.Task[Any]] = set()
        """The tasks of connections that work on a request."""

    def _posts(self, *, only_blobs: bool) -> dict[str, dict[str, RouteHandler]]:
        blobs: dict[str, dict[str, RouteHandler]] = {BLOBS_PATH: self._blobs.of_all}
        return blobs if only_blobs else {RPC_PATH: {"POST": self._call}, **blobs}

    @property
    def address(self) -> str:
        """Where the front listens; once it has started, with the port that it took."""
        return self._address

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen. Raises ValueError if the address is malformed, OSError if it cannot be taken."""
        accept: Callable[[], asyncio.Protocol] = self._connection
        if self._tls is not None and socket_path(self._address) is None:
            accept = self._tls.accept
        self._listeners = await HttpListeners.open(self._address, accept, reuse_port=self._reuse_port)
        self._address = self._listeners.address
        self._hosts = self._listeners.host_check(self._served_hosts)

    def started(self) -> None:
        """Everything else has started as well, which probes tell from now on."""
        self._probes.started = True

    async def drain(self) -> None:
        """Report at `/health` that the server is about to stop; everything else goes on."""
        self._probes.draining = True

    async def end_streams(self, seconds: float) -> None:
        """Take no more connections, and end all streams within `seconds`, a few at a time; other requests go on."""
        self._close()
        await self._lives.end_all(seconds)

    async def stop(self, grace: float) -> None:
        """Take no more connections, give open requests `grace` seconds to be answered, then close."""
        await self.drain()
        if self._listeners is None:
            return
        self._close()
        self._overview.end()
        if self._open:
            await asyncio.wait(self._open, timeout=grace)
        if late := {connection.task for connection in self._connections if connection.task is not None}:
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=1.0)
        await self._listeners.wait_closed()

    def _close(self) -> None:
        """Take no more connections, and no further requests on those that there are."""
        if self._listeners is not None:
            self._listeners.close()
        if self._tls is not None:
            self._tls.close()
        for connection in self._connections:
            connection.finish()

    def _connection(self) -> HttpConnection:
        return HttpConnection(
            self._answer,
            self._connections,
            self._account.share("http_requests"),
            limits=self._limits,
            gate=self._gate,
            intake=self._intake,
        )

    async def _answer(self, request: HttpRequest) -> None:
        observed = begin_request(request)
        try:
            response = await self._respond(request)
            if not request.content.is_eof():
                await self._refuse_body(request, response)
            elif response is not None:
                send_whole(request, response)
        except asyncio.CancelledError as cancelled:
            release_frames(cancelled)
            raise asyncio.CancelledError from None  # A body that was still coming keeps the one that there was.
        finally:
            request.connection.end()
            end_request(request, observed)

    async def _refuse_body(self, request: HttpRequest, response: HttpResponse | None) -> None:
        """Send a refusal, and read the rest of the body: most clients read nothing until they have sent all."""
        connection, limits = request.connection, self._limits
        silent_seconds = None
        if request.stalled or connection.drops_rest or "Expect" in request.headers:
            request.closes = True  # Nobody knows whether the rest comes.
            silent_seconds = limits.silent_seconds
        if response is not None:
            send_whole(request, response)
        if connection.drops_rest:
            await connection.drop_rest(limits.linger_seconds)
        else:
            await drop_rest(request, limits.linger_seconds, silent_seconds)

    async def _respond(self, request: HttpRequest) -> HttpResponse | None:
        """The response, unless it has been sent in parts."""
        task = request.connection.task
        assert task is not None
        request.cross_origin = self._hosts.cross_origin.lines(request)
        if self._lane is not None:
            request.route = self._lane.route(request.path)
        try:
            request.connection.begin(request)
            if request.version not in VERSIONS:
                request.version, request.closes = HttpVersion11, True
                raise VersionNotSupported
            self._hosts.check(request)
            if request.method == "OPTIONS" and (told := self._hosts.cross_origin.preflight(request)) is not None:
                return told
            if request.method in ("GET", "HEAD") and (told := self._told_to_all(request)) is not None:
                return told
            if len(self._open) >= self._limits.requests:
                raise Overloaded("too many open requests", retry_after=1.0)
            self._open.add(task)
            if not is_for_everybody(request.route):
                await self._entrance.identify(request)
            route = self._route(request)
            if "Expect" in request.headers:
                check_expectation(request)
            if "Transfer-Encoding" in request.headers:
                check_transfer_coding(request)
            if self._entrance.access.limits.limited:
                with self._entrance.counted(request) as held:
                    return await route(request, held)
            with request.connection.share.hold() as held:
                return await route(request, held)
        except ClientLeft:
            raise
        except Exception as error:
            return self._refusal(request, error_to_tell(error))
        finally:
            self._open.discard(task)
            del task

    def _refusal(self, request: HttpRequest, error: GatewayError) -> HttpResponse | None:
        if request.begun:  # A second head would be taken for the rest of the body.
            cut(request)
            return None
        if self._lane is not None and request.route:
            return self._lane.refusal(request, error)
        return self._methods.observed.refusal(request, error)

    def _told_to_all(self, request: HttpRequest) -> HttpResponse | None:
        told = self._probes.answer(request)
        return self._ui.answer(request) if told is None and self._ui is not None else told

    def _route(self, request: HttpRequest) -> RouteHandler:
        path = request.path
        methods = self._blobs.of_one if path.startswith(f"{BLOBS_PATH}/") else self._routes.get(path)
        if methods is None and self._lane is not None and request.route:
            return self._lane.answer
        if methods is None:
            raise PathNotFound(f"nothing is served at this path; JSON-RPC is at {RPC_PATH}")
        if request.method not in methods:
            raise MethodNotAllowed(", ".join(methods))
        return methods[request.method]

    async def _call(self, request: HttpRequest, held: MemoryHold) -> HttpResponse | None:
        if not declares_json(request):
            raise UnsupportedMediaType(f"expected content-type: {JSON}")
        body = await self._body(request, held)
        if len(body) > SMALL_TEXT:
            held.grow(await text_bytes(body, self._fair_queue))
        calls = await self._methods.read(body)
        held.shrink(len(body))
        request.call_bytes = 0 if isinstance(calls, jsonrpc.Batch) else len(body)
        del body
        if "Accept" in request.headers and event_stream.is_preferred(",".join(request.headers.getall("Accept"))):
            follow = event_stream.follow_request(calls, request.headers.get("Last-Event-ID", ""))
            if follow is not None:
                with self._methods.observed.stream(calls, request) as call:
                    del calls  # A stream may last for long.
                    held.shrink(held.size)
                    return await self._stream(request, follow, held, call)
        answering = self._methods.answer(calls, held, self._entrance.origin(request))
        del calls  # So may a call that waits for a run.
        answer = await answering
        if isinstance(answer, RefusedAnswer):
            return call_response(answer, answer.error)
        if isinstance(answer, bytes):
            return await self._answers.send_whole(request, answer)
        if answer is None:
            return EMPTY
        await self._answers.send_text(request, answer)
        return None

    async def _stream(
        self, request: HttpRequest, follow: event_stream.Follow, held: MemoryHold, call: ObservedCall
    ) -> HttpResponse | None:
        events = self._streams.events(follow.joined(call), Pace(request.connection, held), request.caller, call)
        try:
            request.limit.becomes_stream()
            followed = self._entrance.access.limits.followed(request.caller, 1)
        except QuotaExceeded as error:
            self._entrance.refused(error, request)
            return denied(call, follow.id, error)
        with followed:
            try:
                first = await anext(events)
            except Exception as error:
                return denied(call, follow.id, error_to_tell(error))
            request.connection.streams = True
            if self._limits.connection_age is not None:
                request.closes = True  # The stream ends with its connection, and the client is to know it before.
            await send_parts(request, event_stream.HEADERS, events, first=first)
        return None

    async def _body(self, request: HttpRequest, held: MemoryHold) -> bytes:
        """The body of a request, when its turn to be worked on has come."""
        body = await read_request_body(request, held, self._limits, self._fair_queue)
        await self._fair_queue.admit()
        return body
