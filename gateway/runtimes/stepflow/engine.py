"""The connection to a Stepflow engine: requests to its REST API, their errors, and when a failed one is repeated.

An engine that restarts is away for a moment. Requests meanwhile fail at once with the time after which to try again. So
clients and watches decide how long they wait for the engine.
"""

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from yarl import URL

from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, PermissionDenied, RemoteError, TooLarge, Unauthenticated, Unavailable
from gateway.core.upstream_calls import UpstreamCalls
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.core.upstream_refusals import UpstreamRefusals
from gateway.core.upstream_spans import UpstreamSpans
from gateway.peers.http.client import EVENT_STREAM, client_session, is_success, read_body, read_refusal, request
from gateway.peers.http.errors import AnswerOverdue, AnswerTooLarge, ConnectionBroken, HttpFailure, NotConnected

PATH: Final = "/api/v1"
"""The path of the engine's REST API."""

MAX_REQUESTS: Final = 64
"""How many requests are under way at once. Others queue in the gateway rather than in the engine."""

MAX_ANSWER_BYTES: Final = 256 << 20
"""The longest answer that is read. An engine answers with all results of a run at once."""

CONNECT_SECONDS: Final = 2.0
"""How long a connection may take."""

FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 2.0
"""Seconds after which an engine that is away is tried again: after the first failure, and at most."""

_CALLS: Final = UpstreamCalls("stepflow")

_IDLE_SECONDS: Final = 60.0
_AWAY: Final = frozenset({502, 503, 504})
"""Statuses with which a proxy in front of the engine answers while the engine is away."""

_log = logging.getLogger(__name__)


class EngineRequest(NamedTuple):
    """A request to the engine. `path` follows `/api/v1`; `seconds` is how long the answer may take."""

    method: str
    path: str
    seconds: float
    repeatable: bool
    """Whether to send it again if its connection was lost, as one from before a restart of the engine is."""
    body: bytes | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    """Headers in addition to those of every request."""
    waits: bool = False
    """Whether the engine holds the answer back until something has happened. Then the request counts as a stream."""


class Answer(NamedTuple):
    """The answer to a request, of any HTTP status. The names of headers are found in any case of their letters.

    Without success, the body may be cut.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class AnswerLost(Unavailable):
    """No answer has come, and the engine may have executed the request or not."""


class EngineRestClient:
    """A Stepflow engine at `http://HOST:PORT` or `https://HOST:PORT`, maybe with the path of a proxy.

    It is a circuit breaker: after a failed connection, requests fail at once until it is time to try again, and then
    one of them tries. Create, use and close it in one event loop.
    """

    def __init__(self, url: str, credentials: UpstreamCredentials = NO_CREDENTIALS) -> None:
        base = URL(url)
        self.name = str(base.with_user(None))
        """The address without credentials, for messages."""
        self._base = str(base).rstrip("/") + PATH
        self._credentials = credentials
        self._http = client_session(idle_seconds=_IDLE_SECONDS, limit=MAX_REQUESTS, tls=credentials.tls)
        # Streams stay open as long as their runs, and must not keep requests waiting.
        self._streams = client_session(idle_seconds=_IDLE_SECONDS, tls=credentials.tls)
        self._spans = UpstreamSpans(url)
        self._met = False
        self._away = False
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)
        self._retry_at = 0.0
        self._refusals = UpstreamRefusals("the engine", self.name)
        self._refused_until = 0.0

    async def request(self, wanted: EngineRequest) -> Answer:
        """Return the answer to a request, whatever its HTTP status is.

        Raises Unavailable if the engine is away or this gateway is not let through to it, and AnswerLost if no answer
        has come to a request that the engine may have executed.
        """
        attempts = 2 if wanted.repeatable else 1
        while True:
            attempts -= 1
            self._admit()
            try:
                # What waits for something to happen is no call: it takes as long as that.
                with nullcontext() if wanted.waits else _CALLS.call() as call:
                    answer = await self._answer(wanted)
                    if call is not None:
                        call.failed = answer.status >= HTTPStatus.BAD_REQUEST
                    if answer.status not in _AWAY:
                        self._refuse(answer.status)
                        return answer
                    raise Unavailable("the engine cannot be reached through its proxy", retry_after=1.0)
            except AnswerLost:
                if not attempts:
                    raise

    def events(self, path: str) -> AbstractAsyncContextManager[ClientResponse]:
        """Open a stream of events. The response may have any status, and the caller reads its body.

        Raises Unavailable if the engine cannot be reached, and AnswerLost if the stream breaks while it is read.
        """
        return self._open(path)

    async def close(self) -> None:
        """Close the connections. Requests and streams that are under way end with Unavailable."""
        await self._http.close()
        await self._streams.close()

    @asynccontextmanager
    async def _open(self, path: str) -> AsyncIterator[ClientResponse]:
        self._admit()
        times = ClientTimeout(sock_connect=CONNECT_SECONDS)
        headers = {"Accept": EVENT_STREAM, **self._credentials.headers}
        try:
            async with request(self._streams, "GET", self._base + path, headers=headers, times=times) as response:
                self._mark_up()
                self._refuse(response.status)
                yield response
        except HttpFailure as failure:
            raise self._map_failure(failure) from None

    async def _answer(self, wanted: EngineRequest) -> Answer:
        http: ClientSession = self._streams if wanted.waits else self._http
        url, times = self._base + wanted.path, ClientTimeout(total=wanted.seconds, sock_connect=CONNECT_SECONDS)
        with self._spans.http(wanted.method, PATH + wanted.path) as span:
            headers = {**span.headers, **wanted.headers, **self._credentials.headers}
            try:
                async with request(http, wanted.method, url, wanted.body, headers=headers, times=times) as response:
                    self._mark_up()
                    span.answered(response.status)
                    read = read_body if is_success(response) else read_refusal
                    return Answer(response.status, await read(response, MAX_ANSWER_BYTES), response.headers)
            except HttpFailure as failure:
                raise self._map_failure(failure) from None

    def _admit(self) -> None:
        """Raises Unavailable if the engine is away and it is not yet time to try again."""
        if not self._away:
            return
        now = time.monotonic()
        if now < self._retry_at:
            raise Unavailable("the engine cannot be reached", retry_after=round(self._retry_at - now + 0.05, 2))
        # This request tries; others fail until its outcome is known.
        self._retry_at = now + self._backoff.delay

    def is_away(self) -> bool:
        """Whether the engine could not be reached, and it is not yet time to try again; or has just refused this
        gateway.
        """
        now = time.monotonic()
        return (self._away and now < self._retry_at) or (self._refusals.unaccepted and now < self._refused_until)

    def _refuse(self, status: int) -> None:
        """Raise UpstreamRefusal if a proxy has not let a request through to the engine, which asks nobody who it is."""
        if status == HTTPStatus.FORBIDDEN:
            raise self._refusals.told(PermissionDenied(f"HTTP status {status} of a proxy"))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
            self._refused_until = time.monotonic() + LAST_DELAY
            raise self._refusals.told(Unauthenticated(f"HTTP status {status} of a proxy"))
        self._refusals.accepted()

    def _mark_up(self) -> None:
        if self._away:
            self._away = False
            self._backoff.reset()
            if self._met:
                _log.warning("the engine at %s is back", self.name)
        self._met = True

    def _mark_down(self) -> None:
        if not self._away:
            self._away = True
            # The caller of the first request reports itself that there is no engine.
            if self._met:
                _log.warning("the engine at %s cannot be reached", self.name)
        self._retry_at = time.monotonic() + self._backoff.next()

    def _map_failure(self, failure: HttpFailure) -> GatewayError:
        """Return the error of the gateway for a failed request."""
        if isinstance(failure, NotConnected):
            self._mark_down()
            return Unavailable("the engine cannot be reached", retry_after=self._backoff.delay)
        if isinstance(failure, AnswerOverdue):
            return AnswerLost("the engine did not answer in time", retry_after=1.0)
        if isinstance(failure, ConnectionBroken):
            return AnswerLost("the connection to the engine was lost", retry_after=self._backoff.delay)
        if isinstance(failure, AnswerTooLarge):
            return TooLarge(f"the engine has answered with more than {MAX_ANSWER_BYTES >> 20} MiB")
        # Its text may be a part of an answer.
        broken = type(failure.__cause__ or failure).__name__
        _log.warning("the engine at %s broke the HTTP protocol: %s", self.name, broken)
        return RemoteError(RemoteError.code, f"unexpected response from the engine: {failure}")
