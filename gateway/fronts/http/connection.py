"""One connection of a client to the HTTP front: how long its client may take, and how much it may send ahead."""

import asyncio
import sys
from contextlib import suppress
from typing import cast

from aiohttp import HttpVersion11
from aiohttp.web import RequestPayloadError

from gateway.access.presented import PeerCertificate
from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.stream_lives import last_moment
from gateway.core.errors import GatewayError, Overloaded
from gateway.core.internal_errors import release_frames
from gateway.fronts.http.gate import ConnectionGate
from gateway.fronts.http.intake import PIECE, READ_AHEAD, Intake
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.peer_certificate import peer_certificate
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.request_loop import AnswerRequest, RequestLoop
from gateway.fronts.http.responses import RequestTimeout, raw_refusal
from gateway.fronts.http.stall_guard import StallGuard

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response. Clients of HTTP/1.1 take any number of them before the response."""

MAX_OVERHEAD = 64 << 10
"""How many bytes, and twice the body more, may be around the chunks of a body: 3 bytes in each pass always.

Clients of Connect in Go send the five bytes before a message of a stream in a chunk of their own.
"""

_SMALL_HEAD = 16 << 10


class ClientLeft(ConnectionError):
    """The client has left: nothing that is written reaches it."""


class BodyTooScattered(RequestPayloadError):
    """The chunks of a body are too small, or have too much around them."""


class HttpConnection(RequestLoop):
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
        "_cut",
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
        "certificate",
        "drops_rest",
        "share",
        "streams",
        "writing_paused",
    )

    def __init__(
        self,
        answer: AnswerRequest,
        connections: "set[HttpConnection]",
        share: MemoryShare,
        *,
        limits: HttpLimits,
        gate: ConnectionGate,
        intake: Intake,
    ) -> None:
        super().__init__(answer, connections, intake, idle_seconds=limits.idle_seconds, age=limits.connection_age)
        self._clock = self._loop.time
        self._gate: ConnectionGate | None = gate
        self.share = share
        self.streams = False
        """Whether the response is an event stream. Its client leaves by closing its side."""
        self.drops_rest = False
        """Whether the rest of a body is forgotten as it comes, since it cannot be parsed or is not worth it."""
        self.writing_paused = False
        """Whether something that was written has not been sent."""
        self.certificate: PeerCertificate | None = None
        """The certificate of the client, if it has shown one."""
        self._limits = limits
        self._request: HttpRequest | None = None
        self._body_received = 0
        """How many bytes have come for the body of the request, with all that is around its chunks."""
        self._ahead = 0
        """How many bytes of the head, and of requests that have not begun, are held."""
        self._drawn = 0
        """How many of them are drawn from the share."""
        self._head_began = 0.0
        self._half_closed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._guard = StallGuard(limits.unread_seconds)
        self._waiter_of_end: asyncio.Future[None] | None = None
        self._waiter_of_sent: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Writing pauses as soon as a byte must wait: what a client does not read is held by the system, or not at all.
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(0)
        super().connection_made(transport)
        self.certificate = peer_certificate(transport)
        gate = self._gate
        assert gate is not None
        limits = self._limits
        if self._old_at is not None and limits.connection_age is not None and limits.age_grace is not None:
            end = self._old_at + last_moment(limits.connection_age, limits.age_grace)
            self._cut = self._loop.call_at(end, self.force_close)
        try:
            gate.enter()
        except Overloaded as error:
            self._gate = None
            self._refuse(error)

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self.transport is not None:
            self._guard.watch(self.transport)

    def resume_writing(self) -> None:
        self._guard.all_sent()
        self.writing_paused = False
        self._wake_writer()

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

    def _wake_writer(self) -> None:
        waiter = self._waiter_of_sent
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def begin(self, request: HttpRequest) -> None:
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
            rest = max(0, min(self._drawn, self._ahead - request.head_size))
            self._ahead = rest if rest > _SMALL_HEAD else 0
            with suppress(Overloaded):  # What has not been parsed counts when it is: the answer goes out before.
                self._draw()
            if self._ahead:
                self._await_head()
        else:
            self._ahead = 0
        if self._half_closed_at:
            self._close_if_idle()

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
        if self._half_closed_at:
            self._close_if_idle()

    def _parse_body(self, request: HttpRequest, data: bytes) -> None:
        body = request.content
        self._body_received += len(data)
        super().parse(data)
        overhead = self._body_received - body.total_bytes
        if overhead > MAX_OVERHEAD + body.total_bytes * 2 and not (body.is_eof() or self.drops_rest):
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

    def eof_received(self) -> bool:
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
                self._close_if_idle()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing can be sent any more; give everything back."""
        for timer in filter(None, (self._timer, self._cut)):
            timer.cancel()
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
        self._wake_writer()

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
            if not request.begun:
                transport.write(INTERIM)
            if self.transport is not None:
                self._look_in(self._limits.half_closed_seconds)
        elif self._clock() - self._half_closed_at < self._limits.idle_seconds:
            self._look_in(self._limits.half_closed_seconds)
        else:
            self.force_close()

    def _close_if_idle(self) -> None:
        """Close a connection on which nothing more comes, unless there is a request that has come."""
        if self._request is None and not self.arrived and not self.unparsed:
            self.force_close()

    def _end_body(self, request: HttpRequest, why: str = "the client has closed its side") -> None:
        if not request.content.is_eof():
            request.content.set_exception(RequestPayloadError(why))

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
            self.transport.write(raw_refusal(error, more=self._intake.cross_origin(self.begun)))
        self.force_close()
