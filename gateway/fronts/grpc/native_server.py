"""The gRPC server on `pygrpc-native`, whose HTTP/2 runs in Rust outside of the interpreter's lock. Plaintext only.

It is built on the low-level interface of that package. The package's own `aio.server` waits for slow readers in threads
of the event loop's executor: a few readers take all of them, and the server cannot even stop any more.
"""

import asyncio
import inspect
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from pygrpc_native import NativeGrpcFront

from gateway.access.access import Access
from gateway.concurrency.handover import Handover
from gateway.core.socket_directory import make_socket_directory
from gateway.fronts.grpc.connections import Connections
from gateway.fronts.grpc.grpcio_server import GrpcioServer, MethodHandler
from gateway.fronts.grpc.native_calls import NativeMethod
from gateway.fronts.grpc.native_dispatch import NativeDispatch
from gateway.fronts.grpc.observed_context import observed_method

_PENDING = "grpc.server.max_pending_requests_hard_limit"
_AGES = ("grpc.max_connection_age_ms", "grpc.max_connection_age_grace_ms")
_BATCH = 64
"""Calls that are handed to the event loop at a time, at most."""
_RELAY_SECONDS = 0.02
"""The time for the last answers of the server behind to pass through: nothing tells when they have."""
_FLUSH_SECONDS = (0.3, 1.0)
"""How long the last answers may take to be sent, if the calls took the whole grace to end, and if they took less."""
_FLUSH_CHECK_SECONDS = 0.01


class NativeServer:
    """The part of `aio.Server` that the front needs.

    It answers methods that are coroutines and take one request; a grpcio server behind it answers all others. It
    listens at one address. `options` are those of grpcio; limits on pings have no effect. Callers are found by
    `access`; without one, anybody may call every method.
    """

    def __init__(
        self,
        options: Sequence[tuple[str, int]],
        connections: Connections,
        access: Access | None = None,
        *,
        observed: bool = True,
    ) -> None:
        self._options = dict(options)
        self._connections = connections
        self._access = access
        self._observed = observed
        # The calls of all clients reach the server behind over a unix socket, any number of one client among them.
        connections.nameless_small = 0
        # All connections reach it through one or a few: the limit of one is kept before it.
        behind = {**self._options, "grpc.max_concurrent_streams": self._options[_PENDING]}
        # Clients do not see the age of these connections.
        for name in _AGES:
            behind.pop(name, None)
        self._inner = GrpcioServer(list(behind.items()), connections, access, observed=observed)
        self._handlers: dict[str, MethodHandler] = {}
        self._front: NativeGrpcFront | None = None
        self._dispatch: NativeDispatch | None = None
        self._handover: Handover[list[Any]] | None = None
        self._stopping = False
        self._directory: str | None = None
        self._received_all = asyncio.Event()
        self._stopped = asyncio.Event()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Called when a servicer is added, before its methods are."""
        self._inner.add_generic_rpc_handlers(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, MethodHandler]) -> None:
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
                max_concurrent_streams=options["grpc.max_concurrent_streams"],
                max_metadata_size=options["grpc.absolute_max_metadata_size"],
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
        self._directory = await asyncio.to_thread(make_socket_directory)
        inner_socket = f"{self._directory}/grpc.sock"
        self._inner.add_insecure_port(f"unix:{inner_socket}")
        await self._inner.start()
        front.set_fallback(inner_socket)
        front.add_methods([(path, handler.response_streaming) for path, handler in self._handlers.items()])
        front.start()
        loop = asyncio.get_running_loop()
        methods = [
            NativeMethod(path, handler, self._access, observed_method(path, handler, told=self._observed))
            for path, handler in self._handlers.items()
        ]
        dispatch = self._dispatch = NativeDispatch(
            front, methods, self._connections, self._options["grpc.max_receive_message_length"]
        )
        handover = self._handover = Handover(dispatch.take)
        receiving = (front, loop, handover.put)
        threading.Thread(target=self._receive, args=receiving, name="grpc-calls", daemon=True).start()

    async def go_away(self) -> None:
        """Do nothing: the package can neither refuse connections nor ask clients for others."""

    async def stop(self, grace: float | None) -> None:
        """Refuse new calls, give open ones `grace` seconds to end, then cancel them."""
        if not self._stopping:
            self._stopping = True
            clock = asyncio.get_running_loop().time
            end = clock() + (grace or 0.0)
            try:
                await asyncio.gather(self._inner.stop(grace), self._end_calls(grace or 0.0))
                least, most = _FLUSH_SECONDS
                await self._flush(min(most, max(least, end - clock())))
            finally:
                await self._close()
        await self._stopped.wait()

    def _receive(
        self, front: NativeGrpcFront, loop: asyncio.AbstractEventLoop, hand_over: Callable[[list[Any]], None]
    ) -> None:
        """Hand calls to the event loop, until the front is closed. Runs in a thread, since it blocks."""
        while (events := front.recv_batch_details(_BATCH)) is not None:
            hand_over(events)
        loop.call_soon_threadsafe(self._received_all.set)

    async def _end_calls(self, grace: float) -> None:
        if self._dispatch is not None:
            await self._dispatch.stop(grace)

    async def _flush(self, seconds: float) -> None:
        """Wait until the answers that were given have been sent: closing the front would drop them."""
        if self._front is None:
            return
        await asyncio.sleep(_RELAY_SECONDS)
        for _ in range(round(seconds / _FLUSH_CHECK_SECONDS)):
            if not _unsent(self._front):
                return
            await asyncio.sleep(_FLUSH_CHECK_SECONDS)

    async def _close(self) -> None:
        if self._front is not None:
            self._front.close()
        if self._directory is not None:
            await self._received_all.wait()
            if self._handover is not None:
                self._handover.close()
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        self._stopped.set()


def _unsent(front: NativeGrpcFront) -> int:
    """How many calls have begun and not been answered, or whose answer is still being sent."""
    metrics: Any = front.metrics()
    counts = metrics["methods"].values()
    return sum(count["started"] - sum(status["count"] for status in count["status"].values()) for count in counts)
