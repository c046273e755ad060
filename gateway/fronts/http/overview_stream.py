"""How the gateway is, as server-sent events: made once for all who look, and only while somebody does."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import Context
from typing import Final

from gateway.access.refusals import unauthenticated
from gateway.adapter import jsonrpc
from gateway.concurrency.memory_account import MemoryHold
from gateway.concurrency.notify import Notify
from gateway.concurrency.stream_lives import StreamLives
from gateway.core.errors import GatewayError, Overloaded, PermissionDenied, QuotaExceeded, Unavailable
from gateway.core.internal_errors import error_to_tell
from gateway.core.owner import Permission
from gateway.fronts.http import event_stream
from gateway.fronts.http.entrance import OVERVIEW_PATH, HttpEntrance
from gateway.fronts.http.pace import Pace
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import HttpResponse
from gateway.fronts.http.sending import send_parts

MOST_VIEWERS: Final = 64
"""How many clients may look at the same time."""

HEARTBEAT_SECONDS: Final = 10.0
"""After how long a stream without an event has a comment, so that no proxy takes it for a dead one."""

_BEGIN: Final = b": how the gateway is\nretry: 1000\n\n"
_HEARTBEAT: Final = b":\n\n"
_GO_ON: Final = b": the stream goes on over a new connection\nretry: 100\n\n"

OverviewEvents = Callable[[], AsyncGenerator[bytes, None]]
"""Makes events, each a JSON object, while the generator is open."""


class OverviewStream:
    """Sends events to those who look, who are all sent the latest one: who is slow misses those in between.

    `make_events` is called when somebody begins to look, and what it made is closed when nobody does any more. `lives`
    ends the streams of a front, when it ends all others.
    """

    def __init__(self, make_events: OverviewEvents, lives: StreamLives | None = None) -> None:
        self._make_events = make_events
        self._lives = lives or StreamLives()
        self._feed: _Feed | None = None
        self._viewers: set[_Viewer] = set()

    async def answer(self, request: HttpRequest, held: MemoryHold) -> None:
        """Send events until the client leaves, its credentials expire, or the front ends its streams.

        Raises Overloaded if too many look, and Unavailable if the front ends its streams.
        """
        if len(self._viewers) >= MOST_VIEWERS:
            raise Overloaded(f"{MOST_VIEWERS} clients look already", retry_after=5.0)
        viewer = _Viewer()
        with self._lives.begin(viewer.end):
            feed = self._feed = self._feed or _Feed(self._make_events)
            self._viewers.add(viewer)
            feed.viewers.add(viewer)
            try:
                request.connection.streams = request.closes = True
                events = _events(feed, viewer, Pace(request.connection, held), request.caller.expires)
                await send_parts(request, event_stream.HEADERS, events, first=_BEGIN)
            finally:
                self._viewers.discard(viewer)
                feed.viewers.discard(viewer)
                if not feed.viewers or feed.failure is not None:
                    # Who comes now begins anew.
                    self._feed = None if self._feed is feed else self._feed
                if not feed.viewers:
                    await feed.close()

    async def page(self, request: HttpRequest) -> None:
        """Like `answer`, on a front of the gateway's own processes. They are known."""
        with request.connection.share.hold() as held:
            await self.answer(request, held)

    def end(self) -> None:
        """End all streams: the front stops."""
        for viewer in self._viewers:
            viewer.end()


class OverviewRoute:
    """The path of the overview on a front, if it has one. Where there are identities, it is for administrators."""

    def __init__(self, make_events: OverviewEvents | None, entrance: HttpEntrance, lives: StreamLives) -> None:
        self._stream = OverviewStream(make_events or _nothing, lives)
        self._entrance = entrance
        self.table = {} if make_events is None else {OVERVIEW_PATH: {"GET": self._answer}}
        """What answers requests, by path and method."""

    def end(self) -> None:
        """End all streams: the front stops."""
        self._stream.end()

    async def _answer(self, request: HttpRequest, held: MemoryHold) -> HttpResponse | None:
        """Send events. Raises PermissionDenied and QuotaExceeded, and as `OverviewStream.answer` does."""
        try:
            request.caller.require(Permission.ADMIN)
            request.limit.becomes_stream()
        except (PermissionDenied, QuotaExceeded) as error:
            self._entrance.refused(error, request)
            raise
        await self._stream.answer(request, held)
        return None


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


class _Viewer:
    """Somebody who looks. `news` is set when there is something to send."""

    __slots__ = ("news", "over")

    def __init__(self) -> None:
        self.news = Notify()
        self.over = False

    def end(self) -> None:
        self.over = True
        self.news.set()


class _Feed:
    """The latest event, and the task that makes events."""

    def __init__(self, make_events: OverviewEvents) -> None:
        self.viewers: set[_Viewer] = set()
        self.latest = b""
        self.number = 0
        self.failure: GatewayError | None = None
        # It works for all who look: it is of no trace.
        self._task = asyncio.create_task(self._run(make_events), context=Context())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, make_events: OverviewEvents) -> None:
        try:
            async with aclosing(make_events()) as events:
                async for event in events:
                    self.latest = b"data: %b\n\n" % event
                    self.number += 1
                    self._wake()
            self.failure = Unavailable("the overview has ended", retry_after=1.0)
        except Exception as error:
            self.failure = error_to_tell(error)
        self._wake()

    def _wake(self) -> None:
        for viewer in self.viewers:
            viewer.news.set()


async def _events(feed: _Feed, viewer: _Viewer, pace: Pace, expires: float | None) -> AsyncGenerator[bytes, None]:
    sent = 0
    while not viewer.over:
        left = math.inf if expires is None else expires - time.time()
        failure = unauthenticated("expired") if left <= 0 else feed.failure
        if failure is not None:
            yield b"data: %b\n\n" % jsonrpc.error_response(None, failure).encode()
            return
        if feed.number == sent:
            try:
                async with asyncio.timeout(min(HEARTBEAT_SECONDS, left)):
                    await viewer.news.wait()
            except TimeoutError:
                yield _HEARTBEAT
            continue
        sent = feed.number
        yield feed.latest
        await pace.catch_up()
    yield _GO_ON
