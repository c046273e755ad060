"""The connection to a Stepflow engine: requests to its REST API, what their failures mean, and when to try again.

An engine that restarts is away for a moment. Who calls it meanwhile is told so at once, and when to come back: waiting
for it is left to clients, and to the watches, which have somebody to wait for.
"""

import io
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Final, NamedTuple

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerTimeoutError,
    TCPConnector,
)
from yarl import URL

from gateway.core.backoff import Backoff
from gateway.core.errors import RemoteError, TooLarge, Unavailable

PATH: Final = "/api/v1"
"""Where the engine has its REST API."""

MAX_REQUESTS: Final = 64
"""How many requests are under way at once; others queue here rather than at the engine."""

MAX_ANSWER_BYTES: Final = 256 << 20
"""The longest answer that is read: an engine answers with all results of a run at once."""

CONNECT_SECONDS: Final = 2.0
"""How long a connection may take."""

FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 2.0
"""Seconds after which an engine that is away is tried again: after the first failure, and after later ones."""

_IDLE_SECONDS: Final = 60.0
_CHUNKED_FROM: Final = 1 << 16
"""From this size on, aiohttp is to send a body in pieces: it warns of larger ones that are not."""

_HEADERS: Final = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_AWAY: Final = frozenset({502, 503, 504})
"""Statuses by which a proxy in front of the engine says that it is away."""

_log = logging.getLogger(__name__)


class EngineRequest(NamedTuple):
    """A request to the engine. `path` follows `/api/v1`; `seconds` is how long the answer may take."""

    method: str
    path: str
    seconds: float
    repeatable: bool
    """Whether to send it again if its connection was lost, as one may be that was kept from before a restart."""
    body: bytes | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    """Headers beside those of every request."""
    waits: bool = False
    """Whether the engine holds the answer back until something has happened. Then the request counts as a stream."""


class Answer(NamedTuple):
    """What the engine has answered: the HTTP status, whatever it is, the body, and the headers in any case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class AnswerLost(Unavailable):
    """The request may have reached the engine, and been executed; the answer has not come."""


class EngineRestClient:
    """A Stepflow engine at `http://HOST:PORT` or `https://HOST:PORT`, maybe with the path of a proxy.

    A breaker: after a failed connection, requests end with Unavailable at once until it is time to try again; then one
    of them tries. To be made, used and closed in one event loop.
    """

    def __init__(self, url: str) -> None:
        base = URL(url)
        self.name = str(base.with_user(None))
        """The address as it may be shown: without credentials."""
        self._base = str(base).rstrip("/") + PATH
        self._http = _session(MAX_REQUESTS)
        # Streams are open for as long as their runs; they must not keep requests waiting.
        self._streams = _session(0)
        self._met = False
        self._away = False
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)
        self._retry_at = 0.0

    async def request(self, request: EngineRequest) -> Answer:
        """Return the answer to a request, whatever its HTTP status is.

        Raises Unavailable if no answer comes in time, AnswerLost if the request may have been executed all the same.
        """
        http = self._streams if request.waits else self._http
        attempts = 2 if request.repeatable else 1
        while True:
            attempts -= 1
            self._admit()
            body = request.body
            exchange = http.request(
                request.method,
                self._base + request.path,
                data=io.BytesIO(body) if body is not None and len(body) > _CHUNKED_FROM else body,
                headers={**_HEADERS, **request.headers},
                timeout=ClientTimeout(total=request.seconds, sock_connect=CONNECT_SECONDS),
                allow_redirects=False,
            )
            try:
                with self._failures():
                    answer = await self._answer(exchange)
            except AnswerLost:
                if not attempts:
                    raise
            else:
                if answer.status in _AWAY:
                    raise Unavailable("the engine cannot be reached through its proxy", retry_after=1.0)
                return answer

    def events(self, path: str) -> AbstractAsyncContextManager[ClientResponse]:
        """Open a stream of events; the response comes whatever its status is, its body is yet to be read.

        Unavailable if the engine cannot be reached, AnswerLost if the stream breaks while it is read.
        """
        return self._open(path)

    async def close(self) -> None:
        """Close the connections; what is under way ends with Unavailable."""
        await self._http.close()
        await self._streams.close()

    @asynccontextmanager
    async def _open(self, path: str) -> AsyncIterator[ClientResponse]:
        self._admit()
        timeout = ClientTimeout(sock_connect=CONNECT_SECONDS)
        headers = {**_HEADERS, "Accept": "text/event-stream"}
        with self._failures():
            async with self._streams.get(
                self._base + path, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                self._seen()
                yield response

    async def _answer(self, exchange: AbstractAsyncContextManager[ClientResponse]) -> Answer:
        async with exchange as response:
            self._seen()
            return Answer(response.status, await _read(response), response.headers)

    def _admit(self) -> None:
        """Let a request pass, unless the engine is away and it is not time to try it again."""
        if not self._away:
            return
        now = time.monotonic()
        if now < self._retry_at:
            raise Unavailable("the engine cannot be reached", retry_after=round(self._retry_at - now + 0.05, 2))
        # This one tries; the others wait for what becomes of it.
        self._retry_at = now + self._backoff.delay

    def _seen(self) -> None:
        if self._away:
            self._away = False
            self._backoff.reset()
            if self._met:
                _log.warning("the engine at %s is back", self.name)
        self._met = True

    def _missed(self) -> None:
        if not self._away:
            self._away = True
            # Who looks for it the first time tells by himself that it is not there.
            if self._met:
                _log.warning("the engine at %s cannot be reached", self.name)
        self._retry_at = time.monotonic() + self._backoff.next()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what aiohttp raises into errors of ours."""
        try:
            yield
        except (ClientConnectorError, ServerTimeoutError) as error:
            if isinstance(error, ClientConnectorError | ConnectionTimeoutError):
                self._missed()
                raise Unavailable("the engine cannot be reached", retry_after=self._backoff.delay) from None
            raise AnswerLost("the engine did not answer in time", retry_after=1.0) from None
        except TimeoutError:
            raise AnswerLost("the engine did not answer in time", retry_after=1.0) from None
        except (ClientConnectionError, ClientPayloadError, OSError):
            raise AnswerLost("the connection to the engine was lost", retry_after=self._backoff.delay) from None
        except ClientError as error:
            _log.warning("the engine at %s broke the HTTP protocol: %r", self.name, error)
            raise RemoteError(RemoteError.code, "the engine has answered with something that is not HTTP") from None


async def _read(response: ClientResponse) -> bytes:
    """The body. TooLarge if it exceeds MAX_ANSWER_BYTES."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise TooLarge(f"the engine has answered with more than {MAX_ANSWER_BYTES >> 20} MiB")
    return bytes(body)


def _session(limit: int) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=limit, limit_per_host=limit, keepalive_timeout=_IDLE_SECONDS),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(),
        auto_decompress=False,
    )
