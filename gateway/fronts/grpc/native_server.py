"""The gRPC server on `pygrpc-native`, whose HTTP/2 runs in Rust outside of the interpreter's lock. Plaintext only.

It is built on the low-level interface of that package. The package's own `aio.server` waits for slow readers in threads
of the event loop's executor: a few readers take all of them, and the server cannot even stop any more.
"""

import asyncio
import inspect
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Never, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from pygrpc_native import EVENT_CANCEL, STREAM_CLOSED, STREAM_FULL, NativeGrpcFront

from gateway.core.errors import SHUTTING_DOWN
from gateway.core.internal_errors import report_unexpected

_BATCH = 64
"""Calls that begin in one step of the event loop, at most."""
_RETRY_SECONDS = tuple(0.001 * 2**count for count in range(8))
"""How long a message waits before it is tried again, by how often it has been."""
_YIELD_BYTES = 16 << 10
"""The size of a message of a stream after which other calls have their turn."""
_RELAY_SECONDS = 0.02
"""The time for the last answers of the server behind to pass through: nothing tells when they have."""
_FLUSH_CHECKS = 100
_FLUSH_CHECK_SECONDS = 0.01
_STOPPING = (grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]


class NativeServer:
    """The part of `aio.Server` that the front needs.

    It answers methods that are coroutines and take one request; a grpcio server behind it answers all others. It
    listens at one address. `options` are those of grpcio; limits on pings have no effect.
    """

    def __init__(self, options: Sequence[tuple[str, int]]) -> None:
        self._options = dict(options)
        self._inner = aio.server(options=options)
        self._handlers: dict[str, _Handler] = {}
        self._front: NativeGrpcFront | None = None
        self.calls: dict[int, asyncio.Task[None]] = {}
        """The calls that are open, those of the server behind excepted."""
        self._stopping = False
        self._directory: str | None = None
        self._received_all = asyncio.Event()
        self._stopped = asyncio.Event()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Called when a servicer is added, before its methods are."""
        self._inner.add_generic_rpc_handlers(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, _Handler]) -> None:
        """Called when a servicer is added."""
        self._inner.add_registered_method_handlers(service_name, method_handlers)
        for name, handler in method_handlers.items():
            if inspect.iscoroutinefunction(handler.unary_unary or handler.unary_stream):
                self._handlers[f"/{service_name}/{name}"] = handler

    def add_insecure_port(self, address: str) -> int:
        """Listen at `HOST:PORT` or `unix:PATH` and return the port. Raises RuntimeError if the address is taken."""
        options = self._options
        try:
            self._front = NativeGrpcFront(
                address,
                [],
                call_details=True,
                delay_stream_headers=True,
                metrics=True,  # they tell which answers have been sent
                keepalive_time_ms=options["grpc.keepalive_time_ms"],
                keepalive_timeout_ms=options["grpc.keepalive_timeout_ms"],
                keepalive_permit_without_calls=bool(options["grpc.keepalive_permit_without_calls"]),
                max_concurrent_streams=options["grpc.server.max_pending_requests_hard_limit"],
                reuse_port=bool(options["grpc.so_reuseport"]),
            )
        except OSError as error:
            raise RuntimeError(f"cannot listen on {address}") from error
        return self._front.bound_port

    async def start(self) -> None:
        """Take calls."""
        front = self._front
        if front is None:
            raise RuntimeError("there is no address to listen at")
        self._directory = await asyncio.to_thread(tempfile.mkdtemp, prefix="runs-gateway-")
        inner_socket = f"{self._directory}/grpc.sock"
        self._inner.add_insecure_port(f"unix:{inner_socket}")
        await self._inner.start()
        front.set_fallback(inner_socket)
        front.add_methods([(path, handler.response_streaming) for path, handler in self._handlers.items()])
        front.start()
        loop = asyncio.get_running_loop()
        take = partial(self._take, front, _Backlog(front), list(self._handlers.values()))
        threading.Thread(target=self._receive, args=(front, loop, take), name="grpc-calls", daemon=True).start()

    async def stop(self, grace: float | None) -> None:
        """Refuse new calls, give open ones `grace` seconds to end, then cancel them."""
        if not self._stopping:
            self._stopping = True
            try:
                await asyncio.gather(self._inner.stop(grace), self._end_calls(grace or 0.0))
                await self._flush()
            finally:
                await self._close()
        await self._stopped.wait()

    def _receive(
        self, front: NativeGrpcFront, loop: asyncio.AbstractEventLoop, take: Callable[[list[Any]], None]
    ) -> None:
        """Hand calls to the event loop, until the front is closed. Runs in a thread, since it blocks."""
        while (events := front.recv_batch_details(_BATCH)) is not None:
            loop.call_soon_threadsafe(take, events)
        loop.call_soon_threadsafe(self._received_all.set)

    def _take(self, front: NativeGrpcFront, backlog: "_Backlog", handlers: list[_Handler], events: list[Any]) -> None:
        for kind, call_id, method, payload, _, details in events:
            if kind == EVENT_CANCEL:
                if (left := self.calls.get(call_id)) is not None:
                    left.cancel()
            elif self._stopping:
                front.fail(call_id, _STOPPING[0].value[0], _STOPPING[1])
            else:
                _, _, remaining = details
                handler = handlers[method]
                context = _NativeContext(front, backlog, call_id, handler, remaining)
                call = asyncio.create_task(self._answer(context, handler, payload))
                self.calls[call_id] = call
                # Not left to the call, which never runs if the client leaves at once.
                call.add_done_callback(partial(self.calls.pop, call_id))

    async def _answer(self, context: "_NativeContext", handler: _Handler, payload: bytes) -> None:
        try:
            if len(payload) > self._options["grpc.max_receive_message_length"]:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the request is larger than a message may be")
            await context.answer(handler, payload)
        except _Abort as abort:
            context.fail(abort.code, abort.details, abort.trailing_metadata)
        except asyncio.CancelledError:
            # The server stops; or the client has left, and this has no effect.
            context.fail(*_STOPPING)
            raise
        except Exception as error:
            context.fail(grpc.StatusCode.INTERNAL, report_unexpected(error).message)

    async def _end_calls(self, grace: float) -> None:
        if self.calls:
            await asyncio.wait(self.calls.values(), timeout=grace)
        calls = list(self.calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _flush(self) -> None:
        """Wait until the answers that were given have been sent: closing the front would drop them."""
        if self._front is None:
            return
        await asyncio.sleep(_RELAY_SECONDS)
        for _ in range(_FLUSH_CHECKS):
            if not _unsent(self._front):
                return
            await asyncio.sleep(_FLUSH_CHECK_SECONDS)

    async def _close(self) -> None:
        if self._front is not None:
            self._front.close()
        if self._directory is not None:
            await self._received_all.wait()
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        self._stopped.set()


class _NativeContext:
    """The part of `aio.ServicerContext` that the methods of the gateway's servicers need."""

    __slots__ = ("_backlog", "_call_id", "_deadline", "_front", "_serialize")

    def __init__(
        self, front: NativeGrpcFront, backlog: "_Backlog", call_id: int, handler: _Handler, remaining: float | None
    ) -> None:
        self._front = front
        self._backlog = backlog
        self._call_id = call_id
        self._serialize: Any = handler.response_serializer or bytes
        self._deadline = None if remaining is None else time.monotonic() + remaining

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None if there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: _Metadata = ()) -> Never:
        """End the call with a status."""
        raise _Abort(code, details, trailing_metadata)

    async def write(self, message: Any) -> None:
        """Send a message of a stream, when its reader has taken all earlier ones but one."""
        data = self._serialize(message)
        sent = self._front.stream_try_send(self._call_id, data)
        if sent == STREAM_FULL:
            sent = await self._backlog.send(self._call_id, data)
        if sent == STREAM_CLOSED:
            raise asyncio.CancelledError
        if len(data) > _YIELD_BYTES:
            await asyncio.sleep(0)

    async def answer(self, handler: _Handler, payload: bytes) -> None:
        """Answer the call."""
        method: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
        deserialize: Any = handler.request_deserializer or bytes
        try:
            request = deserialize(payload)
        except DecodeError:
            await self.abort(grpc.StatusCode.INTERNAL, "the request cannot be decoded")
        response = await method(request, self)
        if handler.response_streaming:
            self._front.stream_end(self._call_id)
        else:
            self._front.respond(self._call_id, self._serialize(response))

    def fail(self, code: grpc.StatusCode, details: str, trailing_metadata: _Metadata = ()) -> None:
        """Let the call fail; nothing happens if it has ended."""
        self._front.fail(self._call_id, code.value[0], details, trailing_metadata)


class _Waiting(NamedTuple):
    """A message whose stream has no room yet; `sent` becomes the result of sending it."""

    call_id: int
    data: bytes
    sent: asyncio.Future[int]


class _Backlog:
    """Messages whose readers are behind. Nothing tells when there is room: it tries again, with growing pauses.

    All messages that have been tried equally often are tried together: a stalled reader costs next to nothing.
    """

    def __init__(self, front: NativeGrpcFront) -> None:
        self._front = front
        self._waiting: list[list[_Waiting]] = [[] for _ in _RETRY_SECONDS]

    async def send(self, call_id: int, data: bytes) -> int:
        """Return when the message has been sent, or the stream is closed."""
        waiting = _Waiting(call_id, data, asyncio.get_running_loop().create_future())
        self._add(waiting, 0)
        return await waiting.sent

    def _add(self, waiting: _Waiting, tries: int) -> None:
        if not self._waiting[tries]:
            asyncio.get_running_loop().call_later(_RETRY_SECONDS[tries], self._try, tries)
        self._waiting[tries].append(waiting)

    def _try(self, tries: int) -> None:
        all_waiting, self._waiting[tries] = self._waiting[tries], []
        for waiting in all_waiting:
            if waiting.sent.done():
                continue  # the call has ended
            sent = self._front.stream_try_send(waiting.call_id, waiting.data)
            if sent == STREAM_FULL:
                self._add(waiting, min(tries + 1, len(_RETRY_SECONDS) - 1))
            else:
                waiting.sent.set_result(sent)


class _Abort(aio.AbortError):
    """Ends a method."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing_metadata: _Metadata) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailing_metadata = trailing_metadata


def _unsent(front: NativeGrpcFront) -> int:
    """How many calls have begun and not been answered, or whose answer is still being sent."""
    metrics: Any = front.metrics()
    counts = metrics["methods"].values()
    return sum(count["started"] - sum(status["count"] for status in count["status"].values()) for count in counts)
