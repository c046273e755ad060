"""One exchange with a component server: a request, the server's own requests meanwhile, the answer."""

import asyncio
import io
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from http import HTTPStatus
from typing import Final, NamedTuple, NoReturn, TypeAlias

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ServerTimeoutError,
)
from msgspec import UNSET, Raw

from gateway.components.error import Code, ComponentError
from gateway.components.limits import Limits
from gateway.components.message import (
    Message,
    broken,
    decode_message,
    encode_internal_error,
    encode_notification,
    encode_request,
    result_of,
)
from gateway.peers.http.sse import EventReader, EventTooLarge

_log = logging.getLogger(__name__)

Callback: TypeAlias = Callable[[bytes, str], Awaitable[bytes | None]]
"""Serves a request of a component: its JSON-RPC text and the scope of the task that it belongs to give the text of the
answer, or None for a notification. It is cancelled when the execution ends before."""

INSTANCE_HEADER: Final = "stepflow-instance-id"

_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "Accept-Encoding": "identity",
}
_CHUNKED_FROM: Final = 1 << 20
"""Larger bodies are written in pieces, so that one does not hold up the event loop."""
_DELIVERY_PAUSES: Final = (0.0, 0.05, 0.5)
"""Seconds before each attempt to deliver an answer."""
_REQUEST_OVERHEAD: Final = 4096
"""About what serving a request costs in memory besides its text."""
_ACKNOWLEDGEMENT_SIZE: Final = 4096


class Address(NamedTuple):
    """Where a component server listens, and with what it is called."""

    http: ClientSession
    url: str
    limits: Limits


async def notify(address: Address, method: str, params: Mapping[str, object]) -> None:
    """Send a notification. ComponentError if it was not accepted."""
    with _connection_errors():
        async with _post(address, encode_notification(method, params)) as response:
            if not _is_success(response):
                raise broken(f"with HTTP status {response.status}")
            await response.content.read(_ACKNOWLEDGEMENT_SIZE)


class Exchange:
    """One request and its answer. `instance` names the process that answers, once it has said so.

    A server answers with JSON, or with an event stream that carries its own requests before the answer. These are
    served concurrently, and their answers go back by requests of their own. The answer ends the exchange, whether the
    stream ends or not.
    """

    def __init__(self, address: Address, callback: Callback | None = None, scope: str = "") -> None:
        self.instance: str | None = None
        self._address = address
        self._callback = callback
        self._scope = scope
        self._pending_size = 0

    async def call(self, method: str, params: Mapping[str, object]) -> Raw:
        """Return the result. ComponentError if there is none. Cancelling it closes the connection."""
        request_id = str(uuid.uuid4())
        with _connection_errors():
            async with _post(self._address, encode_request(request_id, method, params)) as response:
                self.instance = response.headers.get(INSTANCE_HEADER)
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise broken("with an encoding that was not asked for")
                if response.content_type == "text/event-stream" and _is_success(response):
                    return await self._follow(response, request_id)
                return result_of(await self._only_message(response), request_id)

    async def _only_message(self, response: ClientResponse) -> Message:
        """The message that is the whole body. Servers send errors with any HTTP status, and successes with 200."""
        body = await _read(response, self._address.limits.message_size)
        if _is_success(response):
            return decode_message(body)
        try:
            message = decode_message(body)
        except ComponentError:
            message = Message()
        if message.error is UNSET:
            raise broken(f"with HTTP status {response.status}")
        return message

    async def _follow(self, response: ClientResponse, request_id: str) -> Raw:
        """Read the event stream up to the answer, serving the requests in it."""
        requests: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    return await self._read_events(response, request_id, group, requests)
                finally:
                    for task in requests:
                        task.cancel()
        except BaseExceptionGroup as errors:
            _raise_first(errors)

    async def _read_events(
        self, response: ClientResponse, request_id: str, group: asyncio.TaskGroup, requests: set[asyncio.Task[None]]
    ) -> Raw:
        reader = EventReader(self._address.limits.message_size)
        try:
            async for chunk in response.content.iter_any():
                for event in reader.feed(chunk):
                    message = decode_message(event)
                    if message.method is UNSET:
                        return result_of(message, request_id)
                    self._reserve(event)
                    task = group.create_task(self._serve(event, message))
                    requests.add(task)
                    task.add_done_callback(requests.discard)
        except EventTooLarge:
            raise broken("with a message that is too large") from None
        raise broken("with a stream that ended before the answer")

    def _reserve(self, event: bytes) -> None:
        self._pending_size += len(event) + _REQUEST_OVERHEAD
        if self._pending_size > self._address.limits.pending_size:
            raise broken("with more requests than can be served at once")

    async def _serve(self, event: bytes, message: Message) -> None:
        try:
            answer = await self._answer_to(event, message)
            if message.wants_answer:
                await self._deliver(answer or encode_internal_error(message.id))
        finally:
            self._pending_size -= len(event) + _REQUEST_OVERHEAD

    async def _answer_to(self, event: bytes, message: Message) -> bytes | None:
        if self._callback is None:
            raise broken("with a request of its own")
        try:
            return await self._callback(event, self._scope)
        except Exception:
            _log.exception("a request of a component could not be served: %s", message.method)
            return None

    async def _deliver(self, answer: bytes) -> None:
        """Hand an answer to the component. It waits for it, so failing to do so ends the execution."""
        try:
            async with asyncio.timeout(self._address.limits.delivery_timeout):
                for pause in _DELIVERY_PAUSES:
                    await asyncio.sleep(pause)
                    if await self._delivered(answer):
                        return
        except TimeoutError:
            pass
        raise ComponentError(
            Code.CONNECTION_LOST, "the component server did not take the answer to its request", unreachable=True
        )

    async def _delivered(self, answer: bytes) -> bool:
        try:
            async with _post(self._address, answer, self.instance) as response:
                if _is_success(response):
                    await response.content.read(_ACKNOWLEDGEMENT_SIZE)
                    return True
                if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    # The server will not think otherwise, and the component has lost its request.
                    raise ComponentError(
                        Code.PROTOCOL_BROKEN, "the component server did not understand the answer to its request"
                    )
        except (ClientError, OSError) as error:
            _log.info("the answer to a request of a component was not delivered: %r", error)
        return False


def _post(address: Address, text: bytes, instance: str | None = None) -> AbstractAsyncContextManager[ClientResponse]:
    headers = _HEADERS if instance is None else {**_HEADERS, INSTANCE_HEADER: instance}
    body = text if len(text) <= _CHUNKED_FROM else io.BytesIO(text)
    return address.http.post(address.url, data=body, headers=headers, allow_redirects=False)


async def _read(response: ClientResponse, limit: int) -> bytes:
    """The body. ComponentError if it is larger than `limit`."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise broken("with a message that is too large")
    return bytes(body)


def _is_success(response: ClientResponse) -> bool:
    return HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn what aiohttp raises into ComponentError."""
    try:
        yield
    except (ClientConnectionError, ClientPayloadError, OSError) as error:
        _log.info("a component server was not reached or was lost: %r", error)
        not_reached = isinstance(error, ClientConnectorError | ServerTimeoutError)
        what = "cannot be reached" if not_reached else "was lost before it answered"
        raise ComponentError(Code.CONNECTION_LOST, f"the component server {what}", unreachable=True) from error
    except ClientError as error:
        _log.info("a component server broke the HTTP protocol: %r", error)
        raise broken("something that is no HTTP response") from error


def _raise_first(errors: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the first failure of a group of tasks for all of them."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    raise first
