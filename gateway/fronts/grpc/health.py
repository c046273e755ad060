"""The standard health service. No client can hold up a change of state, or the end of the server.

That of grpcio holds a lock while it writes to a client: one that does not read keeps the server from ever stopping.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc import aio
from grpc_health.v1 import health_pb2

from gateway.adapter.health_services import COMPONENTS, encode_services, health_response
from gateway.concurrency.stream_lives import spread
from gateway.core.errors import NotFound, go_away, shutting_down
from gateway.fronts.grpc.calls import CapacityLimiter, Context, handler
from gateway.fronts.grpc.server import add_methods

HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

NO_COMPONENTS: Final[Mapping[str, bool]] = MappingProxyType({})

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """Tells whether services are served: the server as a whole, which has no name, and those in it.

    The components below a prefix of paths are a service as well, `components/sdk` for `/sdk`. The server as a whole is
    served without them.

    Watches take places of `waits`, and last for about `age` seconds. When the server stops, `end_watches` is to be
    called.
    """

    def __init__(self, waits: CapacityLimiter, age: float | None = None) -> None:
        self._waits = waits
        self._age = age
        self._services = [""]
        self._states: dict[str, Any] = {"": _SERVING}
        self._obstacle: str | None = None
        self._draining = False
        self._changed = asyncio.Event()
        self._ending = False

    def add_to(self, server: aio.Server) -> None:
        """Let a server answer the methods."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.unary_unary_rpc_method_handler(
                self.Check,
                request_deserializer=health_pb2.HealthCheckRequest.FromString,
                response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
            ),
            "List": grpc.unary_unary_rpc_method_handler(
                self.List, request_deserializer=Empty.FromString, response_serializer=bytes
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self.Watch,
                request_deserializer=health_pb2.HealthCheckRequest.FromString,
                response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
            ),
        }
        add_methods(server, HEALTH_SERVICE, handlers)

    def serve(self, *services: str) -> None:
        """Report that these are served from now on."""
        self._services += services
        self._states.update(dict.fromkeys(services, _SERVING))
        self._wake()

    def report(self, *, obstacle: str | None, components: Mapping[str, bool] = NO_COMPONENTS) -> None:
        """Report what keeps the services from being served, if anything does, and whether components are available."""
        self._obstacle = obstacle
        serves = obstacle is None and not self._draining
        self._states = dict.fromkeys(self._services, _SERVING if serves else _NOT_SERVING)
        for prefix, available in components.items():
            self._states[COMPONENTS + prefix] = _SERVING if serves and available else _NOT_SERVING
        self._wake()

    def drain(self) -> None:
        """Report that nothing is served any more."""
        self._draining = True
        self._states = dict.fromkeys(self._states, _NOT_SERVING)
        self._wake()

    def end_watches(self) -> None:
        """End every watch with UNAVAILABLE."""
        self._ending = True
        self._wake()

    @handler
    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Tell the state of a service."""
        state = self._states.get(request.service)
        if state is None:
            raise NotFound("no service has this name")
        return self._response(state)

    @handler
    async def List(self, _: Empty, context: Context) -> bytes:  # noqa: N802
        """Tell the states of all services."""
        return encode_services(self._states)

    @handler
    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """Tell the state of a service, and each change of it or of its reason."""
        with self._waits:
            told = None
            end = None if self._age is None else asyncio.get_running_loop().time() + spread(self._age)
            while not self._ending:
                changed = self._changed
                state = self._states.get(request.service, _UNKNOWN)
                if (state, self._obstacle) != told:
                    told = state, self._obstacle
                    await context.write(self._response(state))
                try:
                    async with asyncio.timeout_at(end):
                        await changed.wait()
                except TimeoutError:
                    raise go_away() from None
            raise shutting_down()

    def _response(self, state: Any) -> health_pb2.HealthCheckResponse:
        return health_response(state, self._obstacle if state == _NOT_SERVING else None)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
