"""The client of HTTP servers: sessions, requests, and bodies of answers in bounded memory."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

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
)
from yarl import URL

from gateway.core.client_tls import ClientTls
from gateway.peers.http.errors import (
    AnswerOverdue,
    AnswerTooLarge,
    ConnectionBroken,
    NotConnected,
    NotHttp,
    NotReceived,
)
from gateway.peers.http.failure_words import LOST, not_connected
from gateway.peers.http.receipt import Receipt
from gateway.peers.http.request_body import request_body
from gateway.peers.http.tls_connector import TlsConnector

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"
"""Content types."""

REFUSAL_SECONDS: Final = 2.0
"""How long the body of an answer without success is waited for. Its status is known by then, and says enough."""

_IDENTITY: Final = "identity"


def client_session(
    *,
    idle_seconds: float,
    limit: int = 0,
    timeout: ClientTimeout | None = None,
    socket_factory: Callable[[tuple[Any, ...]], socket.socket] | None = None,
    tls: ClientTls | None = None,
) -> ClientSession:
    """Return a session that keeps unused connections for so long, and opens at most `limit`, where 0 means any number.

    Requests have the limits of time that `timeout` says, or they themselves; none by default. The session belongs to
    the event loop that runs. Servers at `https` URLs are verified by `tls`, by default with the authorities of the
    system. Raises TlsFileError if a file of it cannot be used.
    """
    connector = TlsConnector(
        tls or ClientTls(),
        limit=limit,
        limit_per_host=limit,
        keepalive_timeout=idle_seconds,
        socket_factory=socket_factory,
    )
    return ClientSession(
        connector=connector,
        timeout=timeout or ClientTimeout(),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


@asynccontextmanager
async def request(
    session: ClientSession,
    method: str,
    url: str | URL,
    body: bytes | None = None,
    *,
    headers: Mapping[str, str],
    times: ClientTimeout | None = None,
    receipt: Receipt | None = None,
) -> AsyncIterator[ClientResponse]:
    """Make a request and give the response, of any status, while its body is read. Redirects are not followed.

    A body is JSON unless the headers say otherwise. Raises HttpFailure, also from reading the body. With a `receipt`,
    raises NotReceived if the server has certainly not seen the request. `times` are its limits of time, those of the
    session by default.
    """
    sent = {"Accept-Encoding": _IDENTITY, **headers}
    if body is not None:
        sent.setdefault("Content-Type", JSON)
    data = None if body is None else request_body(body, receipt)
    try:
        async with session.request(
            method, url, data=data, headers=sent, timeout=times, allow_redirects=False
        ) as response:
            if response.headers.get("Content-Encoding", _IDENTITY) != _IDENTITY:
                raise NotHttp("an encoding that was not asked for")
            yield response
    except (ClientConnectorError, ConnectionTimeoutError) as error:
        raise NotConnected(not_connected(error)) from error
    except TimeoutError as error:
        raise AnswerOverdue("no answer in time") from error
    except (ClientConnectionError, ClientPayloadError, OSError) as error:
        if receipt is not None and receipt.never_received(error):
            raise NotReceived(LOST) from error
        raise ConnectionBroken(LOST) from error
    except ClientError as error:
        raise NotHttp("something that is not HTTP") from error
    finally:
        if receipt is not None:
            receipt.close()


async def read_body(response: ClientResponse, limit: int) -> bytes:
    """Return the body of an answer. Raises AnswerTooLarge if it has more than `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise AnswerTooLarge(f"more than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def read_refusal(response: ClientResponse, limit: int) -> bytes:
    """Return the body of an answer without success, or as much of it as could be read.

    It ends early if the connection does, or after `limit` bytes or REFUSAL_SECONDS. None of this is an error: the
    status has been received, and the body only explains it.
    """
    body = bytearray()
    with suppress(ClientError, OSError):  # TimeoutError is an OSError.
        async with asyncio.timeout(REFUSAL_SECONDS):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > limit:
                    break
    return bytes(body[:limit])


def is_success(response: ClientResponse) -> bool:
    """Whether the HTTP status is one of success, 200 to 299."""
    return 200 <= response.status <= 299
