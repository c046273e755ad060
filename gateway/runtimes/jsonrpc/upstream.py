"""The calls on a JSON-RPC server: methods, event streams, and the REST API of blobs."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

from aiohttp import ClientResponse, ClientTimeout
from yarl import URL

from gateway.adapter import jsonrpc
from gateway.core.errors import GatewayError
from gateway.core.model import JsonText
from gateway.core.owner import NAMESPACE_KEY
from gateway.core.upstream_calls import UpstreamCalls
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.core.upstream_refusals import UpstreamRefusal, UpstreamRefusals
from gateway.core.upstream_spans import UpstreamSpans
from gateway.peers.http.client import EVENT_STREAM, JSON, client_session, request
from gateway.runtimes.jsonrpc.answers import (
    ConnectionLost,
    Event,
    NoStream,
    map_exceptions,
    read_document,
    read_events,
    read_result,
)
from gateway.runtimes.jsonrpc.dialect import GET, Dialect, detect, map_error, probe
from gateway.runtimes.jsonrpc.reachability import Reachability

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

_CALLS: Final = UpstreamCalls("jsonrpc")
_BLOBS_PATH: Final = "/api/v1/blobs"


class JsonRpcUpstream:
    """A JSON-RPC server at an `http` or `https` URL, maybe with credentials in it.

    `patience` is how many seconds it may be away before calls are refused with Unavailable. Without a `dialect`, the
    server's is detected, again after each outage. To be made, used and closed in one event loop.
    """

    def __init__(
        self,
        url: str,
        patience: float,
        dialect: Dialect | None = None,
        credentials: UpstreamCredentials = NO_CREDENTIALS,
    ) -> None:
        self._url = URL(url)
        self._configured = dialect
        # Requests that wait for a run must not keep calls out, so the bounds are here rather than in the connector.
        self._credentials = credentials
        self._http = client_session(idle_seconds=IDLE_SECONDS, tls=credentials.tls)
        address = f"{self._url.host}:{self._url.port}"
        self.reachability = Reachability(address, self._find, patience)
        self._refusals = UpstreamRefusals("the upstream", address)
        self._spans = UpstreamSpans(url)
        self.streams = True
        """Whether another gateway gives event streams, as far as is known: a proxy may stand in the way."""
        self.has_blob_methods = True
        """Whether there are methods for blobs, as far as is known. Else there is the REST API."""
        self.has_control = False
        """Whether it is known that there are methods that end runs and find them."""
        self._ids = itertools.count(1)
        self._calls = asyncio.Semaphore(CALLS)
        self._long_calls = asyncio.Semaphore(LONG_CALLS)

    async def call(
        self,
        method: str,
        params: JsonText,
        *,
        repeatable: bool = True,
        seconds: float = READ_SECONDS,
        waits: bool = False,
        namespace: str | None = None,
    ) -> JsonText:
        """Return the result of a method, which may take so long. One that waits for something is a long call.

        Another gateway is told the `namespace`; None is that of the credentials of this one.
        """

        async def attempt() -> JsonText:
            async with self._long_calls if waits else self._calls:
                with _CALLS.call():
                    return await self._ask(method, params, seconds, namespace)

        try:
            return await self.reachability.retried(attempt, repeatable=repeatable)
        except GatewayError as error:
            raise map_error(method, error) from None

    async def wait(self, method: str, params: JsonText, seconds: float) -> None:
        """Make a call that is answered when a run has ended, once. Its failures are ignored: the run may go on."""
        async with self._long_calls:
            try:
                await self._ask(method, params, seconds)
            except ConnectionLost as failure:
                if not failure.timed_out:
                    self.reachability.recheck()
            except GatewayError:
                pass  # The caller asks for the state of the run next, and gets the same.

    @property
    def has_room(self) -> bool:
        """Whether one more request may wait for a run without queueing."""
        return not self._long_calls.locked()

    async def events(
        self, params: JsonText, *, quiet: float, seconds: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Call runs/get and yield the notifications before the response. Close it explicitly.

        A stream that may last for more than `seconds` is a long call. Raises ConnectionLost if the stream breaks, or is
        quiet for longer than `quiet` seconds, NoStream if the server gives none.
        """
        request_id = str(next(self._ids))
        body = jsonrpc.request(request_id, GET, params).encode()
        times = ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS, sock_read=quiet)
        async with self._long_calls if seconds is None else self._calls:
            with self._spans.jsonrpc(GET) as span, self._failures():
                headers = {"Accept": EVENT_STREAM, **span.headers}
                async with self._request("POST", self._url, body, times, headers) as response:
                    if response.content_type != EVENT_STREAM:
                        await read_result(response, request_id)
                        raise NoStream
                    async for event in read_events(response, request_id):
                        yield event

    async def put_blob(self, text: JsonText, seconds: float, namespace: str | None = None) -> JsonText:
        """Store a blob by the REST API."""
        return await self._rest("POST", _BLOBS_PATH, text.encode(), seconds, namespace)

    async def get_blob(self, digest: str, seconds: float, namespace: str | None = None) -> JsonText:
        """Return a blob by the REST API."""
        return await self._rest("GET", f"{_BLOBS_PATH}/{digest}", None, seconds, namespace)

    async def close(self) -> None:
        """Close the connections; every call on them ends."""
        await self.reachability.close()
        await self._http.close()

    async def _find(self) -> Dialect:
        """Ask the server for its dialect."""
        dialect = self._configured
        if dialect is None:
            dialect = await detect(self._ask_briefly)
        else:
            await probe(self._ask_briefly)
        self.streams = self.has_blob_methods = True
        self.has_control = False
        return dialect

    async def _ask_briefly(self, method: str, params: JsonText) -> JsonText:
        with _CALLS.call():
            return await self._ask(method, params, PROBE_SECONDS)

    async def _ask(self, method: str, params: JsonText, seconds: float, namespace: str | None = None) -> JsonText:
        request_id = str(next(self._ids))
        body = jsonrpc.request(request_id, method, params).encode()
        times = ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        with self._spans.jsonrpc(method) as span, self._failures():
            async with self._request("POST", self._url, body, times, span.headers, namespace=namespace) as response:
                return await read_result(response, request_id)

    async def _rest(
        self, method: str, path: str, body: bytes | None, seconds: float, namespace: str | None
    ) -> JsonText:
        """Make a request to the blob API, which is where the server is, whatever the path of JSON-RPC."""
        url = self._url.origin().with_user(self._url.user).with_password(self._url.password).with_path(path)
        times = ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)

        async def attempt() -> JsonText:
            async with self._calls:
                with _CALLS.call(), self._spans.http(method, path) as span, self._failures():
                    async with self._request(method, url, body, times, span.headers, namespace=namespace) as response:
                        span.answered(response.status)
                        return await read_document(response, method)

        return await self.reachability.retried(attempt)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Raise errors of the gateway for what goes wrong with an answer, or for what the upstream refuses."""
        try:
            with map_exceptions():
                yield
        except GatewayError as error:
            told = self._refusals.told(error)
            if told is error:
                raise
            if isinstance(told, UpstreamRefusal) and not told.known:
                self.reachability.look_again()
            raise told from None
        else:
            self._refusals.accepted()

    def _request(
        self,
        method: str,
        url: URL,
        body: bytes | None,
        times: ClientTimeout,
        headers: Mapping[str, str],
        *,
        namespace: str | None = None,
    ) -> AbstractAsyncContextManager[ClientResponse]:
        sent = {"Accept": JSON, **headers, **self._credentials.headers}
        if namespace is not None:
            sent[NAMESPACE_KEY] = namespace
        return request(self._http, method, url, body, headers=sent, times=times)
