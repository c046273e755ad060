"""Making the gRPC server, before services are added to it."""

from typing import Final, Literal, NamedTuple, TypeAlias, cast

import grpc
from grpc import aio

from gateway.access.access import Access
from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.stream_lives import last_moment
from gateway.core.server_tls import ServerTls
from gateway.fronts.grpc.connections import MOST_CALLS, Connections
from gateway.fronts.grpc.grpcio_server import GrpcioServer, MethodHandler


class GrpcLimits(NamedTuple):
    """How much the front takes at once.

    `receive` and `send` bound one message, in bytes. `waits` bounds the calls that may wait, for a run or for the rest
    of an upload, `calls` all others, so that waiting calls do not keep others out. `runs` bounds the runs that one
    WatchRuns stream follows, `followed` those of all such streams together; likewise `sets` and `followed_sets`.
    `inputs` bounds the inputs of one uploaded run, and `upload` the bytes that they take. `streams` bounds the open
    calls of one connection: further ones wait in the client. A client may take `patience` seconds to send its request,
    or the next message of an upload. A connection takes calls for `connection_age` seconds, and then is closed when its
    calls have ended, which get `age_grace` seconds (None: any number). What exceeds a limit of all together is
    refused as Overloaded.
    """

    receive: int = 64 << 20
    send: int = 64 << 20
    calls: int = 4_096
    waits: int = 50_000
    runs: int = 100_000
    followed: int = 500_000
    sets: int = 100
    followed_sets: int = 10_000
    inputs: int = 1 << 24
    upload: int = 1 << 30
    streams: int = MOST_CALLS
    patience: float = 30.0
    connection_age: float | None = None
    age_grace: float | None = None


Transport: TypeAlias = Literal["grpcio", "native"]
"""The implementation of HTTP/2: grpcio, or the faster package `pygrpc-native`, which the extra `native` installs."""


METADATA_BYTES: Final = 8 << 10
"""The most request metadata of a call: what clients may rely on, and what grpcio allows at least."""

HANDSHAKE_MS: Final = 10_000
"""How long the handshake of a connection may take, in milliseconds."""

_LONGEST_MS: Final = (1 << 31) - 1
"""To grpc, the longest time that is not without end. 24 days."""


class GrpcServer(aio.Server):
    """What the front asks of a server, of either transport: a part of what those of grpcio do, and this."""

    def add_tls_port(self, address: str, tls: ServerTls) -> int:
        """Listen over TLS, on grpcio, and return the port. Raises RuntimeError if the address is taken."""
        raise NotImplementedError

    async def go_away(self) -> None:
        """Take no more connections, and ask clients for others, as far as the transport can; open calls go on."""


def create_server(
    limits: GrpcLimits,
    transport: Transport = "grpcio",
    *,
    connections: Connections | None = None,
    access: Access | None = None,
    reuse_port: bool = False,
    observed: bool = True,
) -> GrpcServer:
    """A server without services and ports; what its calls hold is counted by `connections`.

    Callers are found by `access`; without one, anybody may call every method. With `reuse_port`, other processes may
    listen on the same port; the kernel shares the connections out. Calls that are not `observed` are so elsewhere.
    """
    options = server_options(limits, reuse_port=reuse_port)
    connections = connections or Connections(MemoryAccount(), limits.patience)
    if transport == "native":
        from gateway.fronts.grpc.native_server import NativeServer

        return cast("GrpcServer", NativeServer(options, connections, access, observed=observed))
    return cast("GrpcServer", GrpcioServer(options, connections, access, observed=observed))


def add_methods(server: aio.Server, service: str, handlers: dict[str, MethodHandler]) -> None:
    """Let a server answer the methods of a service. Older versions of grpcio know only generic handlers."""
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_registered_method_handlers(service, handlers)


def server_options(limits: GrpcLimits, *, reuse_port: bool = False) -> list[tuple[str, int]]:
    """The options of a server, as grpcio takes them."""
    pending = limits.calls + limits.waits
    return [
        *_age_options(limits),
        # Requests carry whole batches of inputs, and blobs; grpc's own limit is 4 MB.
        ("grpc.max_receive_message_length", limits.receive),
        ("grpc.max_send_message_length", limits.send),
        # Many calls that arrive at once wait for their handlers; by default those above some hundreds may be reset.
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", pending),
        # Also against clients that open and reset calls all the time: calls that were reset count until they are gone.
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        # A client may ask every second whether the connection lives, with or without calls. By default it may every
        # five minutes, and is disconnected when it asks more often.
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.keepalive_permit_without_calls", 1),
        # A client that vanished without closing its connection is noticed, and its calls end, within 80 seconds.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),
        # Over TLS; by default it is two minutes.
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        # Otherwise a second server on the same port fails to start rather than sharing the connections.
        ("grpc.so_reuseport", int(reuse_port)),
    ]


def _age_options(limits: GrpcLimits) -> list[tuple[str, int]]:
    """The options for the life of a connection. grpc has jitter of its own."""
    if limits.connection_age is None:
        return []
    options = [("grpc.max_connection_age_ms", _milliseconds(limits.connection_age))]
    if limits.age_grace is not None:
        grace = last_moment(limits.connection_age, limits.age_grace)
        options.append(("grpc.max_connection_age_grace_ms", _milliseconds(grace)))
    return options


def _milliseconds(seconds: float) -> int:
    return min(_LONGEST_MS, max(1, round(seconds * 1_000)))
