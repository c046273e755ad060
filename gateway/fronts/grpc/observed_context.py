"""The context of a call on grpcio that is observed: it counts messages, and knows with which status a call ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any, Final, Never, cast

import grpc
from google.protobuf.message import Message
from grpc import aio

from gateway.fronts.grpc.calls import Context, Trailers, is_cut
from gateway.telemetry import tracing
from gateway.telemetry.call_metrics import grpc_cells
from gateway.telemetry.observed_calls import NOBODY, ObservedCall, ObservedMethod
from gateway.telemetry.propagation import carried_fields

_JOINS: Final = frozenset({"SubmitRun", "SubmitRunStream", "GetRun"})
"""The methods whose requests may name a trace."""

_UNKNOWN: Final = grpc.StatusCode.UNKNOWN.name


def observed_method(path: str, handler: "grpc.RpcMethodHandler[Any, Any]", *, told: bool = True) -> ObservedMethod:
    """What observes the calls of a method, `/SERVICE/METHOD`."""
    service, _, method = path.lstrip("/").rpartition("/")
    kinds = {(False, False): "unary", (True, False): "client_stream", (False, True): "server_stream"}
    kind = kinds.get((handler.request_streaming, handler.response_streaming), "bidi_stream")
    cells = grpc_cells(kind, service, method) if told else None
    return ObservedMethod("grpc", f"{service}/{method}", cells, joins=method in _JOINS, told=told)


def call_of(context: Context) -> ObservedCall:
    """What observes the call with this context."""
    call: ObservedCall = getattr(context, "call", NOBODY)
    return call


def carried(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """What metadata says of the trace that a call belongs to. A key that is there twice is a list, as in headers."""
    fields = carried_fields()
    carrier: dict[str, str] = {}
    for key, value in metadata or ():
        if key in fields and isinstance(value, str):
            carrier[key] = f"{carrier[key]},{value}" if key in carrier else value
    return carrier


def size_of(message: Any) -> int:
    """How many bytes a message has."""
    if isinstance(message, bytes):
        return len(message)
    return message.ByteSize() if isinstance(message, Message) else 0


class ObservedContext:
    """The part of `aio.ServicerContext` that methods need, with the call that is observed."""

    __slots__ = ("_context", "call", "invocation_metadata", "peer", "time_remaining")

    def __init__(self, context: Context, call: ObservedCall) -> None:
        self._context = context
        self.call = call
        self.invocation_metadata = context.invocation_metadata
        self.peer = context.peer
        self.time_remaining = context.time_remaining

    def auth_context(self) -> Any:
        """What TLS knows of the client."""
        return self._context.auth_context()

    async def read(self) -> Any:
        """The next message of the request; `aio.EOF` if there are no more."""
        message = await self._context.read()
        if message is not aio.EOF:
            self.call.received(size_of(message))
        return message

    def write(self, message: Any) -> Awaitable[None]:
        """Send a message of a stream. Streams send many, so nothing of ours is awaited around it."""
        self.call.sent(len(message) if type(message) is bytes else size_of(message))
        return self._context.write(message)

    def send_initial_metadata(self, metadata: Any) -> Awaitable[None]:
        """Send what precedes the answer."""
        return self._context.send_initial_metadata(metadata)

    def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailers = ()) -> Awaitable[Never]:
        """End the call with a status."""
        self.call.status = code.name
        return self._context.abort(code, details, trailing_metadata)


class ObservedRequests:
    """The messages of a stream of requests, counted."""

    __slots__ = ("_call", "_requests")

    def __init__(self, requests: AsyncIterator[Any], call: ObservedCall) -> None:
        self._requests = requests
        self._call = call

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        message = await self._requests.__anext__()
        self._call.received(size_of(message))
        return message


def observing(serve: Any, method: ObservedMethod, *, many: bool) -> Any:
    """A method that takes a stream of requests, and whose calls are observed from the first moment to the last.

    `many`: there may be more than one, which it does not read from the context.
    """

    async def observe(requests: AsyncIterator[Any], context: Context) -> Any:
        call = ObservedCall(method)
        observed = ObservedContext(context, call)
        if tracing.tracer is not None:
            call.trace(carried(context.invocation_metadata()))
        del context
        answering = serve(ObservedRequests(requests, call) if many else requests, observed)
        del requests
        try:
            answer = await answering
        except asyncio.CancelledError:
            status = cancelled_status(observed)
            call.end(status, status)
            raise
        except BaseException as error:
            status = call.status or (cancelled_status(observed) if is_cut(error) else _UNKNOWN)
            call.end(status, status)
            # Its exception holds this frame, and the context the exception.
            del observed, answering
            raise
        if answer is not None:
            call.sent(size_of(answer))
        call.end("OK", "OK")
        return answer

    return observe


def cancelled_status(context: Any) -> str:
    """The status of a call that has been cancelled: by its client, or since its deadline has passed."""
    remaining = cast("float | None", context.time_remaining())
    return "DEADLINE_EXCEEDED" if remaining is not None and remaining <= 0 else "CANCELLED"
