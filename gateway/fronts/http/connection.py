"""One connection of a client to the HTTP front: how long its client may take, and how much it may send ahead."""

import asyncio
import sys
from contextlib import suppress
from typing import Any, cast

from aiohttp import HttpVersion11, web

from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import GatewayError, Overloaded
from gateway.core.internal_errors import release_frames, report_unexpected
from gateway.fronts.http.gate import ConnectionGate
from gateway.fronts.http.intake import PIECE, Intake, PiecewiseHandler
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.malformed import MAX_HEADERS, MAX_LINE, malformed
from gateway.fronts.http.responses import RawRefusal, RequestTimeout, raw_refusal, refusal
from gateway.fronts.http.stall_guard import StallGuard

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response. Clients of HTTP/1.1 take any number of them before the response."""

READ_AHEAD = 64 << 10
"""How much of a body that nobody reads yet is received, in bytes: twice as much, and one more packet."""

MAX_OVERHEAD = 64 << 10
"""How many bytes, and a quarter of the body more, may be around the chunks of a body: 20 bytes in each pass always."""

_SMALL_HEAD = 16 << 10
_TURNS = 10
"""More turns of the event loop than aiohttp takes from a request that has come, or an answer, to the next request."""

_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "auto_decompress": False,
    "max_field_size": MAX_LINE,
    "max_headers": MAX_HEADERS,
    "max_line_size": MAX_LINE,
    "read_bufsize": READ_AHEAD,
    "lingering_time": 0,  # The front reads the rest of refused bodies itself.
}


class ClientLeft(ConnectionError):
    """The client has left: nothing that is written reaches it."""


class BodyTooScattered(web.RequestPayloadError):
    """The chunks of a body are too small, or have too much around them."""


class HttpConnection(PiecewiseHandler):
    """A connection of a client that may be slow, may close its own side early, or may have left.

    The time for a head runs from its first byte until its request begins. A client that closes its side after a request
    gets the answer. Until something is written to it, it looks like one that has left, and so it is sent an interim
    response now and then, which one that has left answers with a reset. HTTP/1.0 has no interim responses: its clients
    wait for as long as an idle connection is kept.

    A client that does not read is dropped, as `limits` says.

    What the requests of a connection make the front hold draws from `share`, their heads included, and so do requests
    that are sent ahead of the answer to an earlier one.
    """

    __slots__ = (
        "_ahead",
        "_body_received",
        "_clock",
        "_drawn",
        "_gate",
        "_guard",
        "_half_closed_at",
        "_head_began",
        "_limits",
        "_request",
        "_timer",
        "_waiter_of_end",
        "_waiter_of_sent",
        "drops_rest",
        "share",
        "streams",
    )

    def __init__(
        self, server: web.Server, share: MemoryShare, limits: HttpLimits, gate: ConnectionGate, intake: Intake
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, intake, loop=loop, keepalive_timeout=limits.idle_seconds, **_OPTIONS)
        self._clock = loop.time
        self._gate: ConnectionGate | None = gate
        self.share = share
        self.streams = False
        """Whether the response is an event stream. Its client leaves by closing its side."""
        self.drops_rest = False
        """Whether the rest of a body is forgotten as it comes, since it cannot be parsed or is not worth it."""
        self._limits = limits
        self._request: web.BaseRequest | None = None
        self._body_received = 0
        """How many bytes have come for the body of the request, with all that is around its chunks."""
        self._ahead = 0
        """How many bytes of the head, and of requests that have not begun, are held."""
        self._drawn = 0
        """How many of them are drawn from the share."""
        self._head_began = 0.0
        self._half_closed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._guard = StallGuard(limits.unread_seconds)
        self._waiter_of_end: asyncio.Future[None] | None = None
        self._waiter_of_sent: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Writing pauses as soon as a byte must wait: what a client does not read is held by the system, or not at all.
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(0)
        super().connection_made(transport)
        gate = self._gate
        assert gate is not None
        try:
            gate.enter()
        except Overloaded as error:
            self._gate = None
            self._refuse(error)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self._guard.watch(self.transport)

    def resume_writing(self) -> None:
        self._guard.all_sent()
        super().resume_writing()
        self._wake()

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    async def drained(self, within: float | None = None) -> bool:
        """Wait until everything that was written has been sent; False if that takes more than `within` seconds.

        Raises ClientLeft if the connection is lost.
        """
        while self.writing_paused:
            if self.transport is None:
                raise ClientLeft("the client has left")
            self._waiter_of_sent = self._loop.create_future()
            try:
                async with asyncio.timeout(within):
                    await self._waiter_of_sent
            except TimeoutError:
                return False
        return True

    def _wake(self) -> None:
        waiter = self._waiter_of_sent
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def start(self) -> None:
        # A connection that is closed while a body is still coming cancels the task, which holds itself by what it has
        # raised, and the request with it.
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(retrieve_exception)
        del task
        await super().start()

    def begin(self, request: web.BaseRequest) -> None:
        """A request begins. Raises Overloaded if there is no memory for its head and for what was sent ahead."""
        self._request = request
        self._body_received = request.content.total_bytes
        self._head_began = 0.0
        if self._half_closed_at:
            self._end_body(request)
            self._look_in(self._limits.half_closed_seconds)
        if self._ahead > _SMALL_HEAD:
            self._ahead = max(0, self._ahead - request.content.total_bytes)
            self._draw()

    def end(self) -> None:
        """The request has been answered, in whatever way."""
        request, self._request = self._request, None
        self.streams = False
        if self._drawn and request is not None:
            head = sum(len(name) + len(value) for name, value in request.raw_headers)
            rest = max(0, min(self._drawn, self._ahead - head))
            self._ahead = rest if rest > _SMALL_HEAD else 0
            with suppress(Overloaded):  # What has not been parsed counts when it is: the answer goes out before.
                self._draw()
            if self._ahead:
                self._await_head()
        else:
            self._ahead = 0
        if self._half_closed_at:
            self._close_if_idle(_TURNS)

    def piece(self) -> int:
        """How much may be parsed at once: a body of a known length costs little."""
        request = self._request
        if self.drops_rest:
            return sys.maxsize
        if request is None or request.content.is_eof():
            return PIECE
        return max(PIECE, (request.content_length or 0) - request.content.total_bytes)

    def data_received(self, data: bytes) -> None:
        """Part of a request has come, or several requests."""
        super().data_received(data)
        if self.unparsed and (self._request is None or self._request.content.is_eof()):
            self._draw_or_refuse()

    def parse(self, data: bytes) -> None:
        """Parse a piece of what has come."""
        request = self._request
        if self.drops_rest:
            return
        if request is not None and not request.content.is_eof():
            self._parse_body(request, data)
            return
        self._ahead += len(data)
        limit = _SMALL_HEAD
        if request is None:
            if not self._head_began:
                self._await_head()
            limit = READ_AHEAD
        if self._ahead - self._drawn > limit and not self._draw_or_refuse():
            return
        super().parse(data)

    def parse_piece(self) -> None:
        """Parse the next piece of what has come, and give back what it took while it waited."""
        super().parse_piece()
        if self._drawn and not self.unparsed:
            self._draw_or_refuse()

    def _parse_body(self, request: web.BaseRequest, data: bytes) -> None:
        body = request.content
        self._body_received += len(data)
        super().parse(data)
        overhead = self._body_received - body.total_bytes
        if overhead > MAX_OVERHEAD + body.total_bytes // 4 and not (body.is_eof() or self.drops_rest):
            self.drops_rest = True
            body.set_exception(BodyTooScattered("the chunks are too small"))

    def cannot_parse(self) -> None:
        """The body of the request is malformed, or a request that is sent ahead."""
        self.drops_rest = True
        if self._request is not None:
            self._end_body(self._request, "the body is malformed")

    async def drop_rest(self, seconds: float) -> None:
        """Let what still comes be forgotten, until the client closes its side or for so long."""
        self._waiter_of_end = self._loop.create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self._half_closed_at else seconds):
                await self._waiter_of_end

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has closed its side. Return whether it may still get answers."""
        if self.streams:
            return False
        if self._waiter_of_end is not None and not self._waiter_of_end.done():
            self._waiter_of_end.set_result(None)
        if not self._half_closed_at:
            self._half_closed_at = self._clock()
            if self._request is not None:
                self._end_body(self._request)
                self._look_in(self._limits.half_closed_seconds)
            else:
                self._close_if_idle(_TURNS)
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing can be sent any more; give everything back."""
        if self._timer is not None:
            self._timer.cancel()
        if exc is not None:
            release_frames(
                exc
            )  # The request keeps the exception, and the frames of what was being sent hold the request.
        self._guard.close()
        if self._gate is not None:
            self._gate.leave()
        self.forget_unparsed()
        self._ahead = 0
        self._draw()
        super().connection_lost(exc)
        self._wake()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer malformed HTTP like all other requests: with JSON, without a traceback in the log."""
        if status < 500 or exc is None:
            error = malformed(exc)
            if exc is not None:
                release_frames(exc)
            return RawRefusal(error)
        response = refusal(request, report_unexpected(exc), status=status)
        release_frames(exc)
        response.force_close()
        return response

    def _await_head(self) -> None:
        self._head_began = self._clock()
        if self._timer is None:
            self._look_in(self._limits.head_seconds)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Look whether the head is late, or whether a client that sends nothing more is still there."""
        self._timer = None
        if self._half_closed_at:
            self._look_for_client()
        elif self._head_began:
            left = self._head_began + self._limits.head_seconds - self._clock()
            if left > 0:
                self._look_in(left)
            else:
                self._refuse(RequestTimeout("the head of the request takes too long"))

    def _look_for_client(self) -> None:
        request, transport = self._request, self.transport
        if request is None or transport is None:
            return
        if request.version >= HttpVersion11:
            if request.writer.output_size == 0:
                transport.write(INTERIM)
            if self.transport is not None:
                self._look_in(self._limits.half_closed_seconds)
        elif self._clock() - self._half_closed_at < self._limits.idle_seconds:
            self._look_in(self._limits.half_closed_seconds)
        else:
            self.force_close()

    def _close_if_idle(self, turns: int) -> None:
        """Close a connection on which nothing more comes, unless a request that has come begins within some turns."""
        if self._request is None:
            if turns:
                asyncio.get_running_loop().call_soon(self._close_if_idle, turns - 1)
            else:
                self.force_close()

    def _end_body(self, request: web.BaseRequest, why: str = "the client has closed its side") -> None:
        if not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError(why))

    def _draw(self) -> None:
        """Draw what is held from the share, unless it is little. Raises Overloaded if there is no room."""
        held = self._ahead + self.unparsed
        if held <= _SMALL_HEAD:
            held = 0
        if held > self._drawn:
            self.share.take(held - self._drawn)
        else:
            self.share.give_back(self._drawn - held)
        self._drawn = held

    def _draw_or_refuse(self) -> bool:
        """Draw, or refuse what has come and close. Return whether there was room."""
        try:
            self._draw()
        except Overloaded as error:
            self._refuse(error)
            return False
        return True

    def _refuse(self, error: GatewayError) -> None:
        """Answer what is no request yet, and close."""
        if self.transport is not None and self._request is None:
            self.transport.write(raw_refusal(error))
        self.force_close()


def connection_of(request: web.BaseRequest) -> HttpConnection:
    """The connection of a request."""
    connection = request.protocol
    assert isinstance(connection, HttpConnection)
    return connection
