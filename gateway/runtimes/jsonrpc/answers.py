"""The answers of a JSON-RPC server over HTTP: results, errors and event streams, and what is none of these."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, NamedTuple

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ConnectionTimeoutError,
    InvalidURL,
)

from gateway.adapter import jsonrpc
from gateway.core.errors import (
    BlobNotFound,
    GatewayError,
    InvalidParams,
    Overloaded,
    RemoteError,
    TooLarge,
    Unavailable,
    Violation,
)
from gateway.core.json_text import MAX_JSON_BYTES, json_text, members, string
from gateway.core.model import JsonText
from gateway.peers.http.sse import EventReader, EventTooLarge

MAX_RETRY_AFTER: Final = 60.0
"""The longest time, in seconds, for which an upstream can send clients away."""


class Lost(Unavailable):
    """The upstream was not reached, or gave no answer. `unsent`: it has not seen the request. `late`: time was up."""

    def __init__(self, what: str, *, unsent: bool = False, late: bool = False, retry_after: float = 1.0) -> None:
        super().__init__(f"the upstream {what}", retry_after=retry_after)
        self.unsent = unsent
        self.late = late


class NoStream(Exception):
    """The upstream has answered with a single response what it was to answer with an event stream."""


class Event(NamedTuple):
    """A notification in an event stream: its parameters, and the id of the event, "" if it has none."""

    id: str
    params: JsonText


async def read_events(response: ClientResponse, request_id: str) -> AsyncGenerator[Event, None]:
    """The notifications of a stream, up to the response, which is raised if it is an error."""
    reader = EventReader(MAX_JSON_BYTES)
    try:
        async for chunk in response.content.iter_any():
            for data in reader.feed(chunk):
                text = json_text(data)
                given = members(text)
                if "method" not in given:
                    jsonrpc.parse_response(text, request_id)
                    return
                if given["method"] == '"runs/status"':
                    yield Event(reader.last_id, given.get("params", "null"))
    except InvalidParams as error:
        raise unreadable(error) from None
    except EventTooLarge:
        raise TooLarge(f"the upstream has sent an event of more than {MAX_JSON_BYTES} bytes") from None
    raise Lost("has ended a stream before its end")


async def read_result(response: ClientResponse, request_id: str) -> JsonText:
    """The result of a method; raises the error that was answered, or what the HTTP status says if nothing was."""
    body = await _body(response)
    if response.ok and response.status < HTTPStatus.MULTIPLE_CHOICES:
        return jsonrpc.parse_response(body, request_id)
    if (error := jsonrpc.parse_error(body)) is not None:
        raise error
    raise _refusal(response)


async def read_document(response: ClientResponse, method: str) -> JsonText:
    """The body of an answer of the blob API."""
    body = await _body(response)
    if response.ok and response.status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            return json_text(body)
        except InvalidParams as error:
            raise unreadable(error) from None
    told = _told(body)
    if response.status == HTTPStatus.NOT_FOUND and method == "GET":
        raise BlobNotFound(told or "no blob has this id")
    if response.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        raise InvalidParams([Violation(("data",), told or "the upstream does not take it")])
    raise _refusal(response)


def _told(body: bytes) -> str | None:
    """The message of an error of the blob API: `{"error": {"message"}}` or `{"message"}`."""
    try:
        given = members(json_text(body))
        given = members(given["error"]) if given.get("error", "").startswith("{") else given
        return string(given.get("message", "null"))
    except GatewayError:
        return None


def _refusal(response: ClientResponse) -> GatewayError:
    """What an HTTP status alone says."""
    status, what = response.status, f"has answered with the HTTP status {response.status}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Lost(what, retry_after=_retry_after(response))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Overloaded(f"the upstream {what}", retry_after=_retry_after(response))
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge("the message is larger than the upstream takes")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return RemoteError(RemoteError.code, f"the upstream {what}, a redirect: its own address is to be configured")
    return RemoteError(RemoteError.code, f"the upstream {what}: the configured address may be wrong")


def _retry_after(response: ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER) if text.isascii() and text.isdecimal() else 1.0


async def _body(response: ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RemoteError(RemoteError.code, "the upstream has used a content-encoding that was not asked for")
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_JSON_BYTES:
            raise TooLarge(f"the answer of the upstream is larger than {MAX_JSON_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


@contextmanager
def failures() -> Iterator[None]:
    """Turn what aiohttp raises into errors of the gateway."""
    try:
        yield
    except (ClientConnectorError, ConnectionTimeoutError) as error:
        raise Lost("cannot be reached", unsent=True) from error
    except TimeoutError as error:
        raise Lost("did not answer in time", late=True) from error
    except (ClientResponseError, InvalidURL) as error:
        raise RemoteError(RemoteError.code, "the upstream has sent what is no HTTP response") from error
    except (ClientError, OSError) as error:
        raise Lost("was lost before it answered") from error


def unreadable(error: InvalidParams) -> RemoteError:
    """The error for a message that is not the client's fault."""
    return RemoteError(RemoteError.code, f"the upstream has sent what cannot be read: {error.message}")
