"""A gateway for relays to relay to, whose runs a test controls, and which can be stopped and started again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.access.access import Access
from gateway.access.worker_access import WorkerAccess
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.runtime import Runtime
from gateway.core.socket_directory import LINK_SOCKET, RUNTIME_SOCKET
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.fronts.link.front import LinkFront
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices


class Upstream:
    """Serves gRPC on a unix socket. `service` is that of the last start."""

    def __init__(self, runtime: Runtime, path: Path, access: Access | None = None) -> None:
        self.address = f"unix:{path}"
        self._runtime = runtime
        self._access = access
        self.service = RunsService(runtime, grace=0)
        self._services = RunsServices(self.service)
        self._front: GrpcFront | None = None

    async def start(self, limits: GrpcLimits | None = None) -> None:
        """Listen."""
        self.service = RunsService(self._runtime, grace=0)
        self._services = RunsServices(self.service)
        # What workers call has been observed where clients called it.
        observed = not isinstance(self._access, WorkerAccess)
        self._front = GrpcFront(self._services, self.address, limits=limits, access=self._access, observed=observed)
        await self._front.start()

    async def stop(self) -> None:
        """Stop as abruptly as a process that is killed: calls are cut off."""
        if self._front is not None:
            await self._front.stop(0)
            await self._services.close()
        self._front = None


@asynccontextmanager
async def linked_upstream(
    runtime: Runtime, home: Path, account: MemoryAccount | None = None
) -> AsyncIterator[tuple[Upstream, LinkFront]]:
    """Serve a runtime as a gateway does for its workers: gRPC and links, on two sockets in a directory."""
    upstream = Upstream(runtime, home / RUNTIME_SOCKET, WorkerAccess())
    await upstream.start()
    link = LinkFront(runtime, upstream.service.hub, str(home / LINK_SOCKET), account or MemoryAccount())
    await link.start()
    yield upstream, link
    await link.stop()
    await upstream.stop()
