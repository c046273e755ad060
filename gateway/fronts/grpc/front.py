"""The front as a whole: its services on one server, which starts, reports that it drains, and stops."""

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc.blobs_servicer import BlobsServicer
from gateway.fronts.grpc.calls import CapacityLimiter
from gateway.fronts.grpc.health import Health
from gateway.fronts.grpc.runs_servicer import SERVICE, RunsServicer
from gateway.fronts.grpc.server import GrpcLimits, Transport, create_server
from gateway.runs.service import RunsService
from runs.v1 import blobs_pb2, blobs_pb2_grpc

SERVICES = (SERVICE, blobs_pb2.DESCRIPTOR.services_by_name["BlobsService"].full_name)


class GrpcFront:
    """Serves gRPC at `address`: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`.

    With `reuse_port`, other processes may listen on the same port; the kernel shares the connections out. What
    the front holds for clients draws from `account`.
    """

    def __init__(
        self,
        service: RunsService,
        address: str,
        *,
        account: MemoryAccount | None = None,
        limits: GrpcLimits | None = None,
        transport: Transport = "grpcio",
        reuse_port: bool = False,
    ) -> None:
        self._address = address
        self._account = account or MemoryAccount()
        self._limits = limits or GrpcLimits()
        self._transport = transport
        self._reuse_port = reuse_port
        calls = CapacityLimiter(self._limits.calls, "calls")
        self._runs = RunsServicer(service, calls, self._limits)
        self._blobs = BlobsServicer(service, calls, self._limits.send)
        self._health = Health()
        self._server: aio.Server | None = None

    @property
    def address(self) -> str:
        """Where the front listens; once it has started, with the port that it took."""
        return self._address

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be taken."""
        server = create_server(self._limits, self._transport, reuse_port=self._reuse_port)
        self._runs.add_to(server)
        blobs_pb2_grpc.add_BlobsServiceServicer_to_server(self._blobs, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            port = server.add_insecure_port(self._address)
        except RuntimeError:
            raise OSError(f"cannot listen on {self._address}") from None
        await server.start()
        self._server = server
        if not self._address.startswith("unix:"):
            self._address = f"{self._address.rpartition(':')[0]}:{port}"
        for name in SERVICES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Report by the health service that the server is about to stop; everything else goes on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no more calls, give open ones `grace` seconds to end, then cancel them."""
        await self.drain()
        if self._server is None:
            return
        self._health.end_watches()
        self._runs.stop()
        await self._server.stop(grace)
