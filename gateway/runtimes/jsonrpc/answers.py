"""The answers of a JSON-RPC server over HTTP: results, errors, event streams, and answers that cannot be used."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, NamedTuple

from aiohttp import ClientResponse

from gateway.adapter import jsonrpc
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import (
    BlobNotFound,
    GatewayError,
    InvalidParams,
    Overloaded,
    PermissionDenied,
    RemoteError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Violation,
)
from gateway.core.json_text import MAX_JSON_BYTES, json_text, members, string
from gateway.core.model import JsonText
from gateway.peers.http.client import is_success, read_body, read_refusal
from gateway.peers.http.errors import AnswerOverdue, AnswerTooLarge, ConnectionBroken, NotConnected, NotHttp
from gateway.peers.http.sse import EventReader, EventTooLarge

MAX_RETRY_AFTER: Final = 60.0
"""The longest time, in seconds, for which an upstream can send clients away."""


_REFUSALS: Final[Mapping[int, type[GatewayError]]] = {
    HTTPStatus.UNAUTHORIZED: Unauthenticated,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: Unauthenticated,
    HTTPStatus.FORBIDDEN: PermissionDenied,
}
"""What a status of a proxy before the upstream means, where there is nothing else to tell."""


class ConnectionLost(Unavailable):
    """The upstream was not reached, or gave no answer; `what` goes on after "the upstream".

    `request_sent`: it may have seen the request. `timed_out`: it may answer yet, but too late.
    """

    def __init__(
        self, what: str, *, request_sent: bool = True, timed_out: bool = False, retry_after: float = 1.0
    ) -> None:
        super().__init__(f"the upstream {what}", retry_after=retry_after)
        self.request_sent = request_sent
        self.timed_out = timed_out


class NoStream(Exception):
    """The upstream has sent a single response instead of an event stream."""


class Event(NamedTuple):
    """A notification in an event stream: its parameters, and the id of the event, "" if it has none."""

    id: str
    params: JsonText


async def read_events(response: ClientResponse, request_id: str) -> AsyncGenerator[Event, None]:
    """Yield the notifications of a stream, up to the response. Raises the error that the response holds, if any."""
    reader, pace = EventReader(MAX_JSON_BYTES), TimeSlice()
    try:
        async for chunk in response.content.iter_any():
            for data in reader.feed(chunk):
                await pace.checkpoint()
                if data is None:
                    continue
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
    raise ConnectionLost("has ended a stream before its end")


async def read_result(response: ClientResponse, request_id: str) -> JsonText:
    """Return the result of a method. Raises the error in the answer, or the one for its HTTP status if it has none."""
    if is_success(response):
        return jsonrpc.parse_response(await read_body(response, MAX_JSON_BYTES), request_id)
    if (error := jsonrpc.parse_error(await read_refusal(response, MAX_JSON_BYTES))) is not None:
        raise error
    raise _refusal(response)


async def read_document(response: ClientResponse, method: str) -> JsonText:
    """Return the body of an answer of the blob API."""
    if is_success(response):
        body = await read_body(response, MAX_JSON_BYTES)
        try:
            return json_text(body)
        except InvalidParams as error:
            raise unreadable(error) from None
    told = _told(await read_refusal(response, MAX_JSON_BYTES))
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
        return ConnectionLost(what, retry_after=_retry_after(response))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Overloaded(f"the upstream {what}", retry_after=_retry_after(response))
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge("the message is larger than the upstream takes")
    if (refusal := _REFUSALS.get(status)) is not None:
        return refusal(f"it {what}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return RemoteError(RemoteError.code, f"the upstream {what}, a redirect: its own address is to be configured")
    return RemoteError(RemoteError.code, f"the upstream {what}: the configured address may be wrong")


def _retry_after(response: ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER) if text.isascii() and text.isdecimal() else 1.0


@contextmanager
def map_exceptions() -> Iterator[None]:
    """Raise errors of the gateway instead of HttpFailure."""
    try:
        yield
    except NotConnected as error:
        raise ConnectionLost("cannot be reached", request_sent=False) from error
    except AnswerOverdue as error:
        raise ConnectionLost("did not answer in time", timed_out=True) from error
    except ConnectionBroken as error:
        raise ConnectionLost("was lost before it answered") from error
    except NotHttp as error:
        raise RemoteError(RemoteError.code, f"unexpected response from the upstream: {error}") from error
    except AnswerTooLarge as error:
        raise TooLarge(f"the answer of the upstream is larger than {MAX_JSON_BYTES} bytes") from error


def unreadable(error: InvalidParams) -> RemoteError:
    """The error for a message of the upstream that is not the client's fault."""
    return RemoteError(RemoteError.code, f"unexpected response from the upstream: {error.message}")
