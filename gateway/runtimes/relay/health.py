"""The health of the upstream, for relays that are parts of the same gateway."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

from grpc import aio
from grpc_health.v1 import health_pb2

from gateway.adapter.health_services import COMPONENTS, reason_of
from gateway.concurrency.tasks import create_shared_task
from gateway.core.readiness import Readiness
from gateway.runtimes.relay.upstream import RelayUpstream

RETRY_SECONDS: Final = 0.5
"""Seconds before the upstream is asked again after the connection broke."""

FIRST_ANSWER_SECONDS: Final = 5.0
"""Seconds that a start waits for what the upstream has. It listens already, but may be busy."""

SERVICE: Final = "runs.v1.RunsService"

_Response: TypeAlias = health_pb2.HealthCheckResponse
_SERVING = health_pb2.HealthCheckResponse.SERVING


class HealthFollower:
    """Lets `readiness` be what the upstream reports of its own, once it is started.

    Which components there are does not change while the upstream lives, and this process ends with it.
    """

    def __init__(self, upstream: RelayUpstream, readiness: Readiness) -> None:
        self._upstream = upstream
        self._readiness = readiness
        self._following: asyncio.Task[None] | None = None
        self._told = asyncio.Event()
        """It is known which components there are."""

    async def start(self) -> None:
        """Follow the upstream from now on. Waits until it is known which components there are, but not for long."""
        self._following = create_shared_task(self._follow())
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                await self._told.wait()

    async def close(self) -> None:
        """Follow it no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self) -> None:
        prefixes = [
            name.removeprefix(COMPONENTS) for name in await self._services() if name.startswith(f"{COMPONENTS}/")
        ]
        for prefix in prefixes:
            self._readiness.report_components(prefix, available=False)
        self._told.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(SERVICE, self._report))
            for prefix in prefixes:
                group.create_task(self._watch(f"{COMPONENTS}{prefix}", partial(self._report_components, prefix)))

    async def _services(self) -> list[str]:
        """The names of the services of the upstream."""
        while True:
            try:
                names: list[str] = await self._upstream.health_services(b"", wait_for_ready=True)
            except aio.AioRpcError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return names

    async def _watch(self, service: str, report: Callable[[_Response], None]) -> None:
        request = health_pb2.HealthCheckRequest(service=service)
        while True:
            try:
                async for response in self._upstream.health.Watch(request, wait_for_ready=True):
                    report(response)
            except aio.AioRpcError:
                pass  # What it was stays until the upstream can be asked again.
            await asyncio.sleep(RETRY_SECONDS)

    def _report(self, response: _Response) -> None:
        reason = reason_of(response) or "the runtime of this gateway accepts no runs"
        self._readiness.report(None if response.status == _SERVING else reason)

    def _report_components(self, prefix: str, response: _Response) -> None:
        self._readiness.report_components(prefix, response.status == _SERVING)
