"""The standard health service, whose watches do not hold up the end of the server."""

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2

from gateway.core.errors import SHUTTING_DOWN
from gateway.fronts.grpc.calls import Context


class Health(health.aio.HealthServicer):
    """Tells which services are served. When the server stops, `end_watches` is to be called."""

    def __init__(self) -> None:
        super().__init__()
        self._ending = asyncio.Event()

    def end_watches(self) -> None:
        """End every watch with UNAVAILABLE."""
        self._ending.set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """Tell the state of a service, and each change of it."""
        watch = asyncio.create_task(super().Watch(request, context))
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait((watch, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            ending.cancel()
            await asyncio.gather(watch, ending, return_exceptions=True)
        await context.abort(grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)
