"""The standard health service. No client can hold up a change of state, or the end of the server.

That of grpcio holds a lock while it writes to a client: one that does not read keeps the server from ever stopping.
"""

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.core.errors import NotFound, shutting_down
from gateway.fronts.grpc.calls import CapacityLimiter, Context, handler

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):
    """Tells whether services are served: the server as a whole, which has no name, and those in it.

    Watches take places of `waits`. When the server stops, `end_watches` is to be called.
    """

    def __init__(self, waits: CapacityLimiter) -> None:
        self._waits = waits
        self._states: dict[str, Any] = {"": _SERVING}
        self._draining = False
        self._changed = asyncio.Event()
        self._ending = False

    def serve(self, *services: str) -> None:
        """Report that these are served from now on."""
        self._states.update(dict.fromkeys(services, _SERVING))
        self._wake()

    def report(self, *, ready: bool) -> None:
        """Report whether what the services do can be done at the moment."""
        serves = ready and not self._draining
        self._states = dict.fromkeys(self._states, _SERVING if serves else _NOT_SERVING)
        self._wake()

    def drain(self) -> None:
        """Report that nothing is served any more."""
        self._draining = True
        self.report(ready=False)

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
        return health_pb2.HealthCheckResponse(status=state)

    @handler
    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """Tell the state of a service, and each change of it."""
        with self._waits:
            told = None
            while not self._ending:
                changed = self._changed
                state = self._states.get(request.service, _UNKNOWN)
                if state != told:
                    told = state
                    await context.write(health_pb2.HealthCheckResponse(status=state))
                await changed.wait()
            raise shutting_down()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
