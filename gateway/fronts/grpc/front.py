"""The front as a whole: its services on one server, which starts, reports that it drains, and stops."""

from grpc import aio

from gateway.access.access import Access, OpenAccess
from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.stream_lives import StreamLives
from gateway.core.server_sockets import claimed, socket_path, socket_permissions
from gateway.core.server_tls import ServerTls
from gateway.fronts.grpc.blobs_servicer import BLOBS_SERVICE, BlobsServicer
from gateway.fronts.grpc.calls import CapacityLimiter
from gateway.fronts.grpc.connections import Connections
from gateway.fronts.grpc.health import HEALTH_SERVICE, NO_COMPONENTS, Health
from gateway.fronts.grpc.reflection import add_reflection
from gateway.fronts.grpc.runs_servicer import SERVICE, RunsServicer
from gateway.fronts.grpc.server import GrpcLimits, GrpcServer, Transport, create_server
from gateway.runs.services import RunsServices

SERVICES = (SERVICE, BLOBS_SERVICE)


class GrpcFront:
    """Serves gRPC at `address`: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`.

    With `reuse_port`, other processes may listen on the same port; the kernel shares the connections out. What
    the front holds for clients draws from `account`. `access` finds callers; without it, they are anybody. With `tls`,
    which is for grpcio alone, it speaks TLS, except on a unix socket. Calls that are not `observed` are so
    elsewhere: where the clients call.
    """

    def __init__(
        self,
        services: RunsServices,
        address: str,
        *,
        access: Access | None = None,
        account: MemoryAccount | None = None,
        limits: GrpcLimits | None = None,
        transport: Transport = "grpcio",
        reuse_port: bool = False,
        tls: ServerTls | None = None,
        observed: bool = True,
    ) -> None:
        self._address = address
        self._limits = limits or GrpcLimits()
        self._transport = transport
        self._reuse_port = reuse_port
        self._access = access or OpenAccess()
        self._observed = observed
        self._tls = tls if socket_path(address) is None else None
        self.calls = Connections(account or MemoryAccount(), self._limits.patience)
        """What the open calls hold."""
        calls = CapacityLimiter(self._limits.calls, "calls")
        waits = CapacityLimiter(self._limits.waits, "waiting calls")
        self._lives = StreamLives(self._limits.connection_age)
        self._runs = RunsServicer(
            services, calls, waits, self.calls, self._limits, access=self._access, lives=self._lives
        )
        self._blobs = BlobsServicer(services, calls, self.calls, self._limits.send)
        self._health = Health(waits, self._limits.connection_age)
        self._readiness = services.readiness
        self._readiness.on_change(self._report)
        self._server: GrpcServer | None = None

    @property
    def address(self) -> str:
        """Where the front listens; once it has started, with the port that it took."""
        return self._address

    @property
    def connections(self) -> int:
        """How many connections have open calls."""
        return self.calls.number

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be taken."""
        server = create_server(
            self._limits,
            self._transport,
            connections=self.calls,
            access=self._access,
            reuse_port=self._reuse_port,
            observed=self._observed,
        )
        self.add_to(server)
        add_reflection(server, (*SERVICES, HEALTH_SERVICE))
        # grpc takes a unix socket from the server that has it, and says nothing.
        async with claimed(self._address):
            try:
                with socket_permissions():
                    port = self._add_port(server)
            except RuntimeError:
                raise OSError(f"cannot listen on {self._address}") from None
            await server.start()
        self._server = server
        if socket_path(self._address) is None:
            self._address = f"{self._address.rpartition(':')[0]}:{port}"
        self._health.serve(*SERVICES)
        self._report()

    def add_to(self, server: aio.Server) -> None:
        """Let a server answer the methods: that of the front, or another one that shares its limits."""
        self._runs.add_to(server)
        self._blobs.add_to(server)
        self._health.add_to(server)

    def _add_port(self, server: GrpcServer) -> int:
        if self._tls is None:
            return server.add_insecure_port(self._address)
        return server.add_tls_port(self._address, self._tls)

    async def drain(self) -> None:
        """Report by the health service that the server is about to stop; everything else goes on."""
        self._health.drain()

    async def end_streams(self, seconds: float) -> None:
        """Take no more connections, and end all streams within `seconds`, a few at a time; other calls go on."""
        if self._server is not None:
            await self._server.go_away()
            await self._lives.end_all(seconds)

    async def stop(self, grace: float) -> None:
        """Take no more calls, give open ones `grace` seconds to end, then cancel them."""
        await self.drain()
        if self._server is None:
            return
        self._health.end_watches()
        self._runs.stop()
        await self._server.stop(grace)
        self.calls.close()

    def _report(self) -> None:
        # Health is for everybody: where there are identities, what components there are is not.
        components = NO_COMPONENTS if self._access.configured else self._readiness.components
        self._health.report(obstacle=self._readiness.obstacle, components=components)
