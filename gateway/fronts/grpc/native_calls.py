"""A call on the native transport: its context, and the sending of its messages."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Never

import grpc
from grpc import aio
from pygrpc_native import STREAM_CLOSED, STREAM_FULL, NativeGrpcFront

from gateway.access.access import Access
from gateway.fronts.grpc.calls import unguarded
from gateway.fronts.grpc.entrance import Entrance, Metadata
from gateway.fronts.grpc.grpcio_server import MethodHandler
from gateway.fronts.grpc.observed_context import carried
from gateway.fronts.grpc.request_length import Deserializer, bounded
from gateway.fronts.grpc.unsent_answers import RETRY_SECONDS, UnsentAnswers
from gateway.peers.grpc.channel import PUSHBACK_TRAILER
from gateway.telemetry import tracing
from gateway.telemetry.observed_calls import UNTOLD, ObservedCall, ObservedMethod

_YIELD_BYTES = 16 << 10
"""The size of a message of a stream after which other calls have their turn."""


class NativeAbort(aio.AbortError):
    """Ends a method."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing_metadata: Metadata) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailing_metadata = trailing_metadata


class NativeMethod:
    """A method that the transport serves: its `path` is `/SERVICE/METHOD`."""

    __slots__ = ("deserialize", "entrance", "observed", "path", "serialize", "serve", "streams")

    def __init__(
        self,
        path: str,
        handler: MethodHandler,
        access: Access | None = None,
        observed: ObservedMethod = UNTOLD,
    ) -> None:
        self.path = path
        self.observed = observed
        self.entrance = Entrance.to(path, access)
        self.streams = handler.response_streaming
        self.serve = unguarded(handler.unary_stream or handler.unary_unary)
        self.deserialize: Deserializer = bounded(handler.request_deserializer)
        self.serialize: Callable[[Any], bytes] = handler.response_serializer or bytes


class _Waiting(NamedTuple):
    """A message that is tried again while that returns STREAM_FULL; its other result becomes that of `done`."""

    call_id: int
    message: bytes
    done: asyncio.Future[int]


class NativeBacklog:
    """Messages whose readers are behind. Nothing tells when there is room: it tries again, with growing pauses.

    All messages that have been tried equally often are tried together: a stalled reader costs next to nothing.
    """

    def __init__(self, front: NativeGrpcFront) -> None:
        self.front = front
        self.answers = UnsentAnswers(front)
        self._waiting: list[list[_Waiting]] = [[] for _ in RETRY_SECONDS]

    def until_sent(self, call_id: int, message: bytes) -> asyncio.Future[int]:
        """Send a message of a stream when there is room: STREAM_SENT, or STREAM_CLOSED if the call has ended."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._add(_Waiting(call_id, message, done), 0)
        return done

    def _add(self, waiting: _Waiting, tries: int) -> None:
        if not self._waiting[tries]:
            asyncio.get_running_loop().call_later(RETRY_SECONDS[tries], self._try, tries)
        self._waiting[tries].append(waiting)

    def _try(self, tries: int) -> None:
        all_waiting, self._waiting[tries] = self._waiting[tries], []
        for waiting in all_waiting:
            if waiting.done.done():
                continue  # the call has ended
            result = self.front.stream_try_send(waiting.call_id, waiting.message)
            if result == STREAM_FULL:
                self._add(waiting, min(tries + 1, len(RETRY_SECONDS) - 1))
            else:
                waiting.done.set_result(result)


class NativeContext:
    """The part of `aio.ServicerContext` that the methods of the gateway's servicers need."""

    __slots__ = ("_backlog", "_call_id", "_deadline", "_peer", "call", "method")

    def __init__(
        self, backlog: NativeBacklog, call_id: int, method: NativeMethod, peer: str, remaining: float | None
    ) -> None:
        self._backlog = backlog
        self._call_id = call_id
        self.method = method
        self._peer = peer
        self._deadline = None if remaining is None else time.monotonic() + remaining

    def begin(self, size: int, metadata: Metadata) -> ObservedCall:
        """The call begins, with a request of so many bytes."""
        call = self.call = ObservedCall(self.method.observed)
        call.received(size)
        if tracing.tracer is not None:
            call.trace(carried(metadata))
        return call

    def peer(self) -> str:
        """The address of the client, with its port."""
        return self._peer

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None if there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> Never:
        """End the call with a status."""
        raise NativeAbort(code, details, trailing_metadata)

    async def write(self, message: Any) -> None:
        """Send a message of a stream, when its reader has taken all earlier ones but one."""
        data = self.method.serialize(message)
        sent = self._backlog.front.stream_try_send(self._call_id, data)
        if sent == STREAM_FULL:
            sent = await self._backlog.until_sent(self._call_id, data)
        if sent == STREAM_CLOSED:
            raise asyncio.CancelledError
        self.call.sent(len(data))
        if len(data) > _YIELD_BYTES:
            await asyncio.sleep(0)

    def fail(self, code: grpc.StatusCode, details: str, trailing_metadata: Metadata = ()) -> str:
        """Let the call fail; nothing happens if it has ended. Return the name of the status."""
        fail(self._backlog.front, self._call_id, code, details, trailing_metadata)
        return code.name


def fail(
    front: NativeGrpcFront, call_id: int, code: grpc.StatusCode, details: str, trailing_metadata: Metadata = ()
) -> None:
    """Let a call fail; nothing happens if it has ended. The package refuses to send when to try again."""
    sent = [(name, value) for name, value in trailing_metadata if name != PUSHBACK_TRAILER]
    front.fail(call_id, code.value[0], details, sent)
