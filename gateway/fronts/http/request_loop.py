"""The requests of one connection, answered in order."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias, cast

from aiohttp.http import RawRequestMessage

from gateway.concurrency.stream_lives import spread
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.internal_errors import release_frames, report_unexpected
from gateway.fronts.http.intake import Intake, PiecewiseHandler
from gateway.fronts.http.request import HttpRequest

AnswerRequest: TypeAlias = Callable[[HttpRequest], Awaitable[None]]


class RequestLoop(PiecewiseHandler):
    """A connection on which one task answers requests, one after the other; `connections` has it while it lasts.

    It ends if no request comes for `idle_seconds`, or with the answer to the next request when it is `age` seconds old,
    more or less. One that waits for a request then is left open: the client may be sending one.
    """

    __slots__ = ("_answer", "_connections", "_finishing", "_idle_seconds", "_idle_since", "_idle_timer", "_loop",
                 "_old_at", "_waiter", "task")  # fmt: skip

    def __init__(
        self,
        answer: AnswerRequest,
        connections: "set[Any]",
        intake: Intake,
        *,
        idle_seconds: float,
        age: float | None = None,
    ) -> None:
        super().__init__(intake)
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._connections = connections
        self._idle_seconds = idle_seconds
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._finishing = False
        self._old_at = None if age is None else self._loop.time() + spread(age)
        self.task: asyncio.Task[None] | None = None
        """The task that answers; None before the connection is made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self.transport = cast(asyncio.Transport, transport)
        _tune(self.transport)
        self._connections.add(self)
        self._look_whether_idle()
        self.task = self._loop.create_task(self._serve())
        self.task.add_done_callback(self._ended)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Answer nothing more."""
        self.transport = None
        self.forget_unparsed()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self.task is not None:
            self.task.cancel()

    def wake(self) -> None:
        """A request has arrived."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def finish(self) -> None:
        """End with the answer to the request that is worked on, or at once if none is."""
        self._finishing = True
        self.wake()

    async def _serve(self) -> None:
        try:
            while not self._finishing:
                if not self.arrived:
                    await self._next()
                    continue
                self._idle_since = None
                if not await self._answered():
                    break
        except ConnectionError as error:
            release_frames(error)  # The client has left.
        except Exception as error:
            report_unexpected(error)
        finally:
            self.force_close()

    async def _next(self) -> None:
        """Wait for a request."""
        self._idle_since = self._loop.time()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _answered(self) -> bool:
        """Answer the next request, and return whether another one may follow."""
        message, body, head = self.next_arrived()
        if not isinstance(message, RawRequestMessage):
            if self.transport is not None:
                self.transport.write(self._intake.refusal(message, head))
            return False
        assert body is not None
        request = HttpRequest(message, body, cast(Any, self))
        if not (self.arrived or self.parses) or (self._old_at is not None and self._is_old()):
            request.closes = True
        await self._answer(request)
        return not request.closes and body.is_eof()

    def _is_old(self) -> bool:
        """Whether no request is taken any more, besides those that have arrived."""
        return not self.arrived and self._old_at is not None and self._loop.time() >= self._old_at

    def _look_whether_idle(self) -> None:
        left = self._idle_seconds
        if self._idle_since is not None:
            left += self._idle_since - self._loop.time()
        if left > 0:
            self._idle_timer = self._loop.call_later(left, self._look_whether_idle)
        else:
            self.force_close()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._connections.discard(self)
        retrieve_exception(task)


def _tune(transport: asyncio.Transport) -> None:
    """Send small answers at once, and find out some day that a client has vanished."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):  # It may have been closed already.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
