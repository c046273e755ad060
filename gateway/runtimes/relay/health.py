"""The health of the upstream, for relays that are parts of the same gateway."""

import asyncio
from typing import Final

from grpc import aio
from grpc_health.v1 import health_pb2

from gateway.core.readiness import Readiness
from gateway.runtimes.relay.upstream import RelayUpstream

RETRY_SECONDS: Final = 0.5
"""Seconds before the upstream is asked again after the connection broke."""

SERVICE: Final = "runs.v1.RunsService"

_SERVING = health_pb2.HealthCheckResponse.SERVING


class HealthFollower:
    """Lets `readiness` be what the upstream reports of its own, once it is started."""

    def __init__(self, upstream: RelayUpstream, readiness: Readiness) -> None:
        self._upstream = upstream
        self._readiness = readiness
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the upstream from now on."""
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Follow it no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self) -> None:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        while True:
            try:
                async for response in self._upstream.health.Watch(request, wait_for_ready=True):
                    serves = response.status == _SERVING
                    self._readiness.report(None if serves else "the runtime of this gateway accepts no runs")
            except aio.AioRpcError:
                pass  # What it was stays until the upstream can be asked again.
            await asyncio.sleep(RETRY_SECONDS)
