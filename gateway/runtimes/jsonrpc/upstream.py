"""The connection to a JSON-RPC server: calls on it, what their failures mean, and when to try again.

A server that restarts is away for a moment. Whoever calls it meanwhile waits for it, up to a limit counted from when it
went away, and calls again where that cannot do anything twice. After that, calls are refused at once, until one task,
which goes on trying for all, finds it there again.
"""

import asyncio
import io
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

from aiohttp import (
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from gateway.adapter import jsonrpc
from gateway.core.backoff import Backoff
from gateway.core.errors import (
    GatewayError,
    RemoteError,
    Unavailable,
    shutting_down,
)
from gateway.core.internal_errors import report_unexpected
from gateway.core.model import JsonText
from gateway.runtimes.jsonrpc.answers import (
    Event,
    Lost,
    NoStream,
    failures,
    read_document,
    read_events,
    read_result,
)
from gateway.runtimes.jsonrpc.dialect import GET, Dialect, answers, detect, meaning

CALLS: Final = 64
"""How many calls are under way at once; others queue here rather than at the upstream."""

LONG_CALLS: Final = 1_024
"""How many requests wait for runs at once, with a connection each."""

CONNECT_SECONDS: Final = 5.0
"""How long a connection may take."""

READ_SECONDS: Final = 30.0
"""How long the upstream may take to answer, unless a caller says otherwise."""

PROBE_SECONDS: Final = 5.0
"""How long it may take for a request that only asks whether it is there."""

IDLE_SECONDS: Final = 3.0
"""How long an unused connection is kept: less than servers do (5 s and more), so that none is closed just when a submit
is sent on it, which would then end as Unavailable."""

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 1.0
"""Seconds between the first two attempts, and between later ones. They are drawn at random from a half of it up, so
that many who lost the same upstream do not come back at once."""

_CHUNKED_FROM: Final = 1 << 16
"""Larger bodies are written in pieces, so that one does not hold up the event loop."""
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_BLOBS_PATH: Final = "/api/v1/blobs"

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Upstream:
    """A JSON-RPC server at an `http` or `https` URL, maybe with credentials in it.

    `patience` is how many seconds it may be away before calls are refused with Unavailable. To be made, used and closed
    in one event loop.
    """

    def __init__(self, url: str, patience: float, dialect: Dialect | None = None) -> None:
        self._url = URL(url)
        self._name = f"{self._url.host}:{self._url.port}"
        self._patience = patience
        self._configured = dialect
        # What waits for a run must keep nobody out, so the bounds are here rather than in the connector.
        self._http = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
        )
        self.streams = True
        """Whether another gateway gives event streams, as far as is known: a proxy may stand in the way."""
        self.has_blob_methods = True
        """Whether there are methods for blobs, as far as is known. Else there is the REST API."""
        self._ids = itertools.count(1)
        self._calls = asyncio.Semaphore(CALLS)
        self._long_calls = asyncio.Semaphore(LONG_CALLS)
        self._dialect: Dialect | None = None
        self._failure: GatewayError | None = None
        self._away_since = 0.0
        self._reaching: asyncio.Task[None] | None = None
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._impatient = False
        self._closed = False
        self._told_away = False

    async def connected(self, seconds: float) -> bool:
        """Wait for the upstream for so long. False if it is away, or no JSON-RPC server; the log tells which."""
        try:
            async with asyncio.timeout(seconds):
                while self._dialect is None and not isinstance(self._failure, RemoteError):
                    await self._attempt()
        except TimeoutError:
            self._missed(self._failure or Lost("cannot be reached"))
        return self._dialect is not None

    async def ready(self) -> Dialect:
        """Wait until the upstream is there, and return what it speaks.

        Unavailable if it has been away for longer than the patience; RemoteError if what is there speaks no JSON-RPC.
        """
        while self._dialect is None:
            failure = self._failure
            if isinstance(failure, RemoteError):
                raise RemoteError(failure.remote_code, failure.message)
            left = None if failure is None else self._left()
            if failure is not None and not left:
                raise Unavailable(failure.message, retry_after=failure.retry_after or 1.0)
            await self._attempt(left)
        return self._dialect

    async def persistently(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Return what `attempt` returns. It is made again when it was cut off, if it is `repeatable`.

        One whose request was not sent is made again in any case, one that took too long in none.
        """
        persistence = Persistence(self)
        while True:
            await self.ready()
            try:
                return await attempt()
            except Unavailable as failure:
                again = repeatable
                if isinstance(failure, Lost):
                    self.lost()
                    again = failure.unsent or (repeatable and not failure.late)
                if not again:
                    raise
                await persistence.pause(failure)

    async def call(
        self, method: str, params: JsonText, *, repeatable: bool = True, seconds: float = READ_SECONDS
    ) -> JsonText:
        """Return the result of a method, which may take so long."""

        async def attempt() -> JsonText:
            async with self._calls:
                return await self._ask(method, params, seconds)

        try:
            return await self.persistently(attempt, repeatable=repeatable)
        except GatewayError as error:
            raise meaning(method, error) from None

    async def wait(self, method: str, params: JsonText, seconds: float) -> None:
        """Make a call that is answered when a run has ended, once. Whatever it ends with, the run may go on."""
        async with self._long_calls:
            try:
                await self._ask(method, params, seconds)
            except Lost as failure:
                if not failure.late:
                    self.lost()
            except GatewayError:
                pass  # Who asks for the state of the run gets the same.

    @property
    def has_room(self) -> bool:
        """Whether one more request may wait for a run without queueing."""
        return not self._long_calls.locked()

    async def events(
        self, params: JsonText, *, quiet: float, seconds: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Call runs/get and yield the notifications before the response. Close it explicitly.

        Lost if the stream breaks, or is quiet for longer than `quiet` seconds; NoStream if there is none. A stream that
        may last for more than `seconds` is a long call.
        """
        request_id = str(next(self._ids))
        body = jsonrpc.request(request_id, GET, params).encode()
        timeout = ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS, sock_read=quiet)
        async with self._long_calls if seconds is None else self._calls:
            with failures():
                async with self._post(body, timeout, accept=_EVENTS) as response:
                    if response.content_type != _EVENTS:
                        await read_result(response, request_id)
                        raise NoStream
                    async for event in read_events(response, request_id):
                        yield event

    async def put_blob(self, text: JsonText, seconds: float) -> JsonText:
        """Store a blob by the REST API."""
        return await self._rest("POST", _BLOBS_PATH, text, seconds)

    async def get_blob(self, digest: str, seconds: float) -> JsonText:
        """Return a blob by the REST API."""
        return await self._rest("GET", f"{_BLOBS_PATH}/{digest}", None, seconds)

    def lost(self) -> None:
        """A connection broke: find out whether the upstream is there, and what it speaks now, before it is called."""
        if self._dialect is not None:
            self._dialect = None
            self._failure = None

    @property
    def patience(self) -> float:
        """How many seconds the upstream may be away."""
        return 0.0 if self._impatient else self._patience

    def stop_waiting(self) -> None:
        """Wait no more for an upstream that is away."""
        self._impatient = True
        self._announce()

    async def close(self) -> None:
        """Close the connections; every call on them ends."""
        self._closed = True
        self._dialect = None
        self.stop_waiting()
        if self._reaching is not None:
            self._reaching.cancel()
            await asyncio.gather(self._reaching, return_exceptions=True)
        await self._http.close()

    async def _attempt(self, seconds: float | None = None) -> None:
        """Wait for the end of the next attempt to reach the upstream, at most so long."""
        if self._closed:
            raise shutting_down()
        if self._reaching is None:
            self._away_since = asyncio.get_running_loop().time()
            self._reaching = asyncio.create_task(self._reach())
        await asyncio.wait({self._news}, timeout=seconds)

    async def _reach(self) -> None:
        """Try until the upstream has answered."""
        backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)
        try:
            while True:
                try:
                    if self._configured is None:
                        self._dialect = await detect(self._probe)
                    else:
                        await answers(self._probe)
                        self._dialect = self._configured
                    return self._found()
                except GatewayError as failure:
                    self._missed(failure)
                except Exception as failure:
                    self._missed(report_unexpected(failure))
                self._announce()
                await asyncio.sleep(backoff.next())
        finally:
            self._reaching = None
            self._announce()

    async def _probe(self, method: str, params: JsonText) -> JsonText:
        return await self._ask(method, params, PROBE_SECONDS)

    def _found(self) -> None:
        self._failure = None
        self.streams = self.has_blob_methods = True
        if self._told_away:
            self._told_away = False
            _log.warning("the upstream at %s is back", self._name)

    def _missed(self, failure: GatewayError) -> None:
        self._failure = failure
        if not self._told_away:
            self._told_away = True
            _log.warning("the upstream at %s cannot be used: %s", self._name, failure.message)

    def _announce(self) -> None:
        """Let everybody who waits for the upstream look again."""
        news, self._news = self._news, asyncio.get_running_loop().create_future()
        if not news.done():
            news.set_result(None)

    def _left(self) -> float:
        return max(0.0, self.patience - (asyncio.get_running_loop().time() - self._away_since))

    async def _ask(self, method: str, params: JsonText, seconds: float) -> JsonText:
        request_id = str(next(self._ids))
        body = jsonrpc.request(request_id, method, params).encode()
        timeout = ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        with failures():
            async with self._post(body, timeout) as response:
                return await read_result(response, request_id)

    def _post(
        self, body: bytes, timeout: ClientTimeout, *, accept: str = _JSON
    ) -> AbstractAsyncContextManager[ClientResponse]:
        return self._request("POST", self._url, timeout, body, accept=accept)

    def _request(
        self, method: str, url: URL, timeout: ClientTimeout, body: bytes | None, *, accept: str = _JSON
    ) -> AbstractAsyncContextManager[ClientResponse]:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = _JSON
        data = io.BytesIO(body) if body is not None and len(body) > _CHUNKED_FROM else body
        return self._http.request(method, url, data=data, headers=headers, timeout=timeout, allow_redirects=False)

    async def _rest(self, method: str, path: str, text: JsonText | None, seconds: float) -> JsonText:
        """Make a request to the blob API, which is where the server is, whatever the path of JSON-RPC."""
        url = self._url.origin().with_user(self._url.user).with_password(self._url.password).with_path(path)
        timeout = ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)

        async def attempt() -> JsonText:
            async with self._calls:
                with failures():
                    async with self._request(method, url, timeout, None if text is None else text.encode()) as response:
                        return await read_document(response, method)

        return await self.persistently(attempt)


class Persistence:
    """How long one caller has tried in vain."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._since = 0.0
        self._last: float | None = None
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)

    async def pause(self, failure: Unavailable) -> None:
        """Wait before the next attempt; raise what the last one ended with if there is to be none.

        Failures count together if not more than the patience lies between them.
        """
        now = asyncio.get_running_loop().time()
        if self._last is None or now - self._last > self._upstream.patience:
            self._since = now
            self._backoff.reset()
        self._last = now
        delay = self._backoff.next()
        if now - self._since + delay > self._upstream.patience:
            if failure.retry_after is None:
                failure.retry_after = 1.0
            raise failure
        await asyncio.sleep(delay)
