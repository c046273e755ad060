"""One exchange with a component server: a request, the requests that the server makes meanwhile, and the answer."""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from aiohttp import ClientResponse, ClientSession
from msgspec import UNSET, Raw

from gateway.components.error import Code, ComponentError, RequestNotReceived
from gateway.components.limits import Limits
from gateway.components.long_message import LongResult, read_message
from gateway.components.message import (
    ComponentMessage,
    broken,
    decode_message,
    encode_internal_error,
    encode_notification,
    encode_request,
    has_error,
    result_of,
)
from gateway.components.requests import ComponentRequests, ExecutionRequests, ServedRequest
from gateway.concurrency.tasks import first_failure
from gateway.core.model import ObservabilityContext
from gateway.peers.http.client import EVENT_STREAM, JSON, is_success, read_body, read_refusal, request
from gateway.peers.http.errors import AnswerTooLarge, HttpFailure, NotConnected, NotHttp, NotReceived
from gateway.peers.http.receipt import Receipt
from gateway.peers.http.sse import EventReader, EventTooLarge
from gateway.telemetry.run_log import of_run

_log = logging.getLogger(__name__)

Callback: TypeAlias = Callable[[bytes, str], Awaitable[bytes | None]]
"""Serves a request of a component: its JSON-RPC text and the scope of the task that it belongs to give the text of the
answer, or None for a notification. It is cancelled when the execution ends before."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
"""The headers of no trace."""

INSTANCE_HEADER: Final = "stepflow-instance-id"

_HEADERS: Final = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENT_STREAM}"}
_DELIVERY_PAUSES: Final = (0.0, 0.05, 0.5)
"""Seconds before each attempt to deliver an answer."""
_ACKNOWLEDGEMENT_SIZE: Final = 4096

_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""HTTP statuses below 500 after which another attempt may succeed. All from 500 on are others: those of proxies."""


class Address(NamedTuple):
    """The URL of a component server, the session for calling it, and the requests that all components make."""

    http: ClientSession
    url: str
    requests: ComponentRequests

    @property
    def limits(self) -> Limits:
        """The limits for calling it."""
        return self.requests.limits


async def notify(address: Address, method: str, params: Mapping[str, object]) -> None:
    """Send a notification. Raises ComponentError if it was not accepted."""
    try:
        async with _post(address, encode_notification(method, params)) as response:
            if not is_success(response):
                raise _refused(response)
            await response.content.read(_ACKNOWLEDGEMENT_SIZE)
    except HttpFailure as failure:
        raise _map_failure(failure) from failure


class Exchange:
    """One request and its answer. `instance` names the process that answers, once it has said so.

    A server answers with JSON, or with an event stream that carries its own requests before the answer. These are
    served concurrently, and their answers go back by requests of their own. The answer ends the exchange, whether the
    stream ends or not. `run` is what the log is told of, and `carried` are headers that
    tell the server the trace.
    """

    def __init__(
        self,
        address: Address,
        callback: Callback | None = None,
        scope: str = "",
        run: ObservabilityContext | None = None,
        carried: Mapping[str, str] = NOTHING,
    ) -> None:
        self.instance: str | None = None
        self.line = address.requests.turns.line()
        """Its turns to read what the server has sent."""
        self._address = address
        self._callback = callback
        self._scope = scope
        self._run = run
        self._carried = carried

    async def call(self, method: str, params: Mapping[str, object]) -> Raw | LongResult:
        """Return the result. Raises ComponentError if there is none. Cancelling it closes the connection."""
        request_id = str(uuid.uuid4())
        try:
            body = encode_request(request_id, method, params)
            async with _post(self._address, body, receipt=Receipt(), carried=self._carried) as response:
                self.instance = response.headers.get(INSTANCE_HEADER)
                if response.content_type == EVENT_STREAM and is_success(response):
                    return await self._follow(response, request_id)
                message, long = await self._only_message(response)
                result = result_of(message, request_id)
                return long or result
        except HttpFailure as failure:
            raise _map_failure(failure) from failure

    async def _only_message(self, response: ClientResponse) -> tuple[ComponentMessage, LongResult | None]:
        """Return the message in the body. Servers send errors with any HTTP status, and successes with 200."""
        limit = self._address.limits.message_size
        if is_success(response):
            return await read_message(await read_body(response, limit), self.line)
        try:
            message = decode_message(await read_refusal(response, limit))
        except ComponentError:
            message = ComponentMessage()
        if not has_error(message):
            raise _refused(response)
        return message, None

    async def _follow(self, response: ClientResponse, request_id: str) -> Raw | LongResult:
        """Read the event stream up to the answer, serving the requests in it."""
        requests = self._address.requests.of_execution(self.line)
        tasks: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    async with aclosing(self._messages(response)) as messages:
                        async for event, message, long in messages:
                            if message.method is UNSET:
                                result = result_of(message, request_id)
                                return long or result
                            await requests.wait_for_room(len(event))
                            request = requests.enter(len(event))
                            task = group.create_task(self._serve(event, message, request, requests))
                            tasks.add(task)
                            # Not in the task: it may be cancelled before it begins.
                            task.add_done_callback(request.served)
                            task.add_done_callback(tasks.discard)
                finally:
                    for task in tasks:
                        task.cancel()
        except BaseExceptionGroup as errors:
            failure = first_failure(errors)
        try:
            raise failure  # Not while the group is handled, which would become its context, and holds it.
        finally:
            del failure

    async def _messages(
        self, response: ClientResponse
    ) -> AsyncGenerator[tuple[bytes, ComponentMessage, LongResult | None], None]:
        """Yield the messages in an event stream, each with its text. Reading takes turns with everything else."""
        reader = EventReader(self._address.limits.message_size)
        try:
            async for chunk in response.content.iter_any():
                for event in reader.feed(chunk):
                    await self.line.checkpoint()
                    if event is not None:
                        yield event, *await read_message(event, self.line)
        except EventTooLarge:
            raise broken("a message that is too large") from None
        # As a server ends its streams that stops in order.
        raise broken("a stream that ended before the answer", recurs=False)

    async def _serve(
        self, event: bytes, message: ComponentMessage, request: ServedRequest, requests: ExecutionRequests
    ) -> None:
        answer = await self._answer_to(event, message)
        if not message.wants_answer:
            return
        answer = answer or encode_internal_error(message.id)
        request.hold(len(answer))
        async with requests.delivery():
            await self._deliver(answer)

    async def _answer_to(self, event: bytes, message: ComponentMessage) -> bytes | None:
        if self._callback is None:
            raise broken("a request of its own")
        try:
            return await self._callback(event, self._scope)
        except Exception:
            _log.exception("a request of a component could not be served", extra=self._fields())
            return None

    def _fields(self) -> dict[str, str]:
        return {} if self._run is None else of_run(self._run.run_id, self._run.trace_id)

    async def _deliver(self, answer: bytes) -> None:
        """Send an answer to the component, which waits for it. A failure ends the execution.

        Raises ComponentError if the server does not take the answer.
        """
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
                if is_success(response):
                    await response.content.read(_ACKNOWLEDGEMENT_SIZE)
                    return True
                if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    # The server would refuse it again, and the component would wait in vain.
                    raise ComponentError(
                        Code.PROTOCOL_BROKEN, "the component server did not understand the answer to its request"
                    )
        except HttpFailure as failure:
            _log.debug("the answer to a request of a component was not delivered: %r", failure, extra=self._fields())
        return False


def _post(
    address: Address,
    text: bytes,
    instance: str | None = None,
    *,
    receipt: Receipt | None = None,
    carried: Mapping[str, str] = NOTHING,
) -> AbstractAsyncContextManager[ClientResponse]:
    headers = _HEADERS if instance is None else {**_HEADERS, INSTANCE_HEADER: instance}
    if carried:
        headers = {**headers, **carried}
    return request(address.http, "POST", address.url, text, headers=headers, receipt=receipt)


def _refused(response: ClientResponse) -> ComponentError:
    """The error for an answer whose only content is its HTTP status."""
    status = response.status
    recurs = status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PASSING
    return broken(f"HTTP status {status}", recurs=recurs)


def _map_failure(failure: HttpFailure) -> ComponentError:
    """The error that an exchange without a usable answer ends with."""
    if isinstance(failure, AnswerTooLarge):
        return broken("a message that is too large")
    _log.debug("a component server gave no usable answer: %r", failure)
    if isinstance(failure, NotHttp):
        return broken(f"{failure}")
    what = "cannot be reached" if isinstance(failure, NotConnected) else "was lost before it answered"
    kind = RequestNotReceived if isinstance(failure, NotReceived) else ComponentError
    return kind(Code.CONNECTION_LOST, f"the component server {what}", unreachable=True)
