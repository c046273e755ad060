"""The gRPC server on grpcio, whose calls are counted before their requests are read.

Left to itself, grpcio reads the request of a call first, in full, and waits for it without end. To grpcio, all methods
are therefore such that take a stream, and this module reads the one request of those that do not.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc
from grpc import aio

from gateway.access.access import Access
from gateway.access.presented import Presented
from gateway.concurrency.tasks import to_the_end
from gateway.core.errors import GatewayError, InvalidRequest, Unauthenticated
from gateway.core.internal_errors import release_frames
from gateway.core.server_tls import ServerTls
from gateway.fronts.grpc.calls import Context, abort, is_cut
from gateway.fronts.grpc.connections import COPIES, SMALL_MESSAGE, Connections
from gateway.fronts.grpc.entrance import Entrance, presented_in, until_expired
from gateway.fronts.grpc.observed_context import observed_method, observing
from gateway.fronts.grpc.peer_certificate import peer_certificate
from gateway.fronts.grpc.request_length import bounded
from gateway.fronts.grpc.server_credentials import server_credentials
from gateway.fronts.grpc.unknown_methods import UnknownMethods
from gateway.telemetry.observed_calls import ObservedMethod

MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_UNTIL_STOP: Final = 1e6
"""Seconds of grace for calls whose end comes with a later stop."""

_TURN_SECONDS: Final = 0.01
_MOST_TURNS: Final = 20
"""How long, and how often, a stop waits for calls that have come to begin: clients may go on to call all the time."""


class GrpcioServer:
    """The part of `aio.Server` that the front needs. What calls hold is counted by `connections`.

    Callers are found by `access`; without one, anybody may call every method.
    """

    def __init__(
        self,
        options: Sequence[tuple[str, int]],
        connections: Connections,
        access: Access | None = None,
        *,
        observed: bool = True,
    ) -> None:
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_news)
        self._server = aio.server(options=options)
        self._access = access
        self._connections = connections
        self._observed = observed
        self._leaving: asyncio.Task[None] | None = None

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Called when a servicer is added, before its methods are."""
        counted = tuple(_CountedHandlers(handlers, self._count) for handlers in generic_rpc_handlers)
        self._server.add_generic_rpc_handlers(counted)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, MethodHandler]) -> None:
        """Called when a servicer is added. Older versions of grpcio ignore it, and ask the generic handlers."""
        counted = {name: self._count(f"/{service_name}/{name}", handler) for name, handler in method_handlers.items()}
        self._server.add_registered_method_handlers(service_name, counted)

    def _count(self, path: str, handler: MethodHandler) -> MethodHandler:
        """The same method, counted and observed."""
        observed = observed_method(path, handler, told=self._observed)
        return _counted(handler, self._connections, Entrance.to(path, self._access), observed)

    def add_insecure_port(self, address: str) -> int:
        """Listen at `HOST:PORT` or `unix:PATH` and return the port. Raises RuntimeError if the address is taken."""
        return self._server.add_insecure_port(address)

    def add_tls_port(self, address: str, tls: ServerTls) -> int:
        """The same over TLS."""
        self._connections.show_certificates = tls.asks_for_certificates
        return self._server.add_secure_port(address, server_credentials(tls))

    async def start(self) -> None:
        """Take calls."""
        if self._observed:
            self._server.add_generic_rpc_handlers((UnknownMethods(self._connections),))
        # grpcio fails at its own end if its start is cancelled, which takes no time.
        await to_the_end(self._server.start())

    async def go_away(self) -> None:
        """Take no more connections, and ask clients for others by GOAWAY; open calls go on until `stop`."""
        await self._begin_what_has_come()
        self._leaving = asyncio.create_task(self._server.stop(_UNTIL_STOP))

    async def stop(self, grace: float | None) -> None:
        """Refuse new calls, give open ones `grace` seconds to end, then cancel them."""
        await self._begin_what_has_come()
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)
        await self._server.stop(grace)

    async def _begin_what_has_come(self) -> None:
        """Let the calls begin that have come: grpc would cancel them, and no client tries again what was cancelled."""
        for _ in range(_MOST_TURNS):
            begun = self._connections.begun
            await asyncio.sleep(_TURN_SECONDS)
            if self._connections.begun == begun:
                return


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of grpcio tells of a failure.

    grpcio, as of 1.85, logs a traceback for each call whose client leaves while it is sent an answer, and for some that
    are cancelled: many at once, if a connection ends.
    """
    error = record.exc_info and record.exc_info[1]
    return not (isinstance(error, asyncio.CancelledError) or (error and is_cut(error)))


class _CountedHandlers(grpc.GenericRpcHandler):
    """Finds the handlers of methods, for versions of grpcio that look nowhere else."""

    def __init__(self, handlers: grpc.GenericRpcHandler, count: Callable[[str, MethodHandler], MethodHandler]) -> None:
        self._handlers = handlers
        self._count = count
        self._found: dict[str, MethodHandler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "MethodHandler | None":
        """The handler of a method; None if there is no such method."""
        path = handler_call_details.method
        found = self._found.get(path)
        if found is None and (handler := self._handlers.service(handler_call_details)) is not None:
            found = self._found[path] = self._count(path, handler)
        return found


def _counted(
    handler: MethodHandler, connections: Connections, entrance: Entrance | None, observed: ObservedMethod
) -> MethodHandler:
    """The same method, counted from its first moment on, for callers that `entrance` lets in."""
    make = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    deserialize = bounded(handler.request_deserializer)
    if handler.request_streaming:
        method: Any = handler.stream_stream or handler.stream_unary
        serve = observing(_taking(_written(method), connections, entrance), observed, many=True)
        return make(serve, deserialize, handler.response_serializer)
    method = _written(handler.unary_stream or handler.unary_unary)
    if handler.response_streaming:
        method = _ending(method, connections)
    serve = observing(_reading(method, deserialize, connections, entrance), observed, many=False)
    return make(serve, None, handler.response_serializer)


def _written(method: Any) -> Any:
    """A method that writes what another one yields, and closes the generator in any case, as grpcio does not.

    Methods of libraries are such. Their errors are those of their requests.
    """
    if not inspect.isasyncgenfunction(method):
        return method

    async def write(request: Any, context: Context) -> None:
        try:
            async with aclosing(method(request, context)) as responses:
                async for response in responses:
                    await context.write(response)
            return
        except GatewayError as error:
            ending = abort(context, error)
        del request, context
        await ending

    return write


def _ending(method: Any, connections: Connections) -> Any:
    """A method that goes on for long, and ends when the credentials of its caller expire."""

    def serve(request: Any, context: Context) -> Awaitable[Any]:
        answering = method(request, context)
        expires = connections.of(context).caller.expires
        return answering if expires is None else end(answering, expires, context)

    async def end(answering: Awaitable[Any], expires: float, context: Context) -> Any:
        try:
            return await until_expired(answering, expires)
        except Unauthenticated as error:
            ending = abort(context, error)
        del context, answering
        return await ending

    return serve


def _reading(method: Any, deserialize: Any, connections: Connections, entrance: Entrance | None) -> Any:
    """A method that takes a stream of requests, and passes the first one on."""

    async def serve(requests: object, context: Context) -> Any:
        del requests
        try:
            request = await _request(deserialize, connections, entrance, context)
        except GatewayError as error:
            answering = abort(context, error)
        else:
            answering = method(request, context)
            del request
        # The context of an aborted call holds its exception, and thereby this frame.
        del context
        try:
            return await answering
        except aio.AbortError as aborted:
            release_frames(aborted)
            raise

    return serve


async def _request(deserialize: Any, connections: Connections, entrance: Entrance | None, context: Context) -> Any:
    """The request of a call. Raises Overloaded if there is no room for it, InvalidRequest if there is none that can be
    decoded, and before it is read, Unauthenticated and PermissionDenied if its caller is not let in.
    """
    memory = context.call.source = connections.begin(context)  # type: ignore[attr-defined]
    if entrance is not None and not entrance.knows(presented := _presented(connections, context), memory):
        await entrance.identify(presented, memory)
    data = await connections.read(context)
    if data is aio.EOF:
        raise InvalidRequest("the call has no request")
    if len(data) > SMALL_MESSAGE:
        memory.grow(COPIES * len(data))
    return deserialize(data)


def _taking(method: Any, connections: Connections, entrance: Entrance | None) -> Any:
    """A method that takes a stream of requests."""
    method = _ending(method, connections)

    async def serve(requests: AsyncIterator[Any], context: Context) -> Any:
        try:
            memory = context.call.source = connections.begin(context)  # type: ignore[attr-defined]
            if entrance is not None and not entrance.knows(presented := _presented(connections, context), memory):
                await entrance.identify(presented, memory)
        except GatewayError as error:
            answering = abort(context, error)
        else:
            answering = method(requests, context)
        del requests, context
        try:
            return await answering
        except aio.AbortError as aborted:
            release_frames(aborted)
            raise

    return serve


def _presented(connections: Connections, context: Context) -> Presented:
    """What a call presents."""
    presented = presented_in(context.invocation_metadata())
    if connections.show_certificates:
        return presented._replace(certificate=peer_certificate(context))
    return presented
