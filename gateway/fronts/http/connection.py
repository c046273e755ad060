"""One connection of a client to the HTTP front."""

import asyncio
from typing import Any, cast

from aiohttp import web

from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import GatewayError, InvalidRequest
from gateway.core.internal_errors import release_frames, report_unexpected
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.responses import refusal
from gateway.fronts.http.stall_guard import StallGuard

_OPTIONS: dict[str, Any] = {"access_log": None, "auto_decompress": False}


class ClientLeft(ConnectionError):
    """The client has left: nothing that is written reaches it."""


class HttpConnection(web.RequestHandler):
    """A connection that answers malformed HTTP like all other requests: with JSON, without a traceback in the log.

    What its requests make the front hold draws from `share`. A client that does not read is dropped, as `limits` says.
    """

    __slots__ = ("_guard", "_waiter_of_sent", "share")

    def __init__(self, server: web.Server, share: MemoryShare, limits: HttpLimits) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **_OPTIONS)
        self.share = share
        self._guard = StallGuard(limits.unread_seconds)
        self._waiter_of_sent: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Writing pauses as soon as a byte must wait: what a client does not read is held by the system, or not at all.
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(0)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._guard.close()
        super().connection_lost(exc)
        self._wake()

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

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500 and exc is not None:
            error: GatewayError = report_unexpected(exc)
        else:
            error = InvalidRequest("the request is no HTTP/1.1 request that this server takes")
        if exc is not None:
            release_frames(exc)
        response = refusal(request, error, status=status)
        response.force_close()
        return response


def connection_of(request: web.BaseRequest) -> HttpConnection:
    """The connection of a request."""
    connection = request.protocol
    assert isinstance(connection, HttpConnection)
    return connection
