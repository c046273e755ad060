"""A gateway for relays to relay to, whose runs a test controls, and which can be stopped and started again."""

from pathlib import Path

from gateway.core.runtime import Runtime
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.runs.service import RunsService


class Upstream:
    """Serves gRPC on a unix socket. `service` is that of the last start."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.address = f"unix:{path}"
        self._runtime = runtime
        self.service = RunsService(runtime, grace=0)
        self._front: GrpcFront | None = None

    async def start(self, limits: GrpcLimits | None = None) -> None:
        """Listen."""
        self.service = RunsService(self._runtime, grace=0)
        self._front = GrpcFront(self.service, self.address, limits=limits)
        await self._front.start()

    async def stop(self) -> None:
        """Stop as abruptly as a process that is killed: calls are cut off."""
        if self._front is not None:
            await self._front.stop(0)
            await self.service.close()
        self._front = None
