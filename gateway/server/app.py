"""The gateway as one process: its parts started in order, and stopped in an order that loses nothing."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from gateway.access.capabilities import Capabilities
from gateway.access.worker_access import WorkerAccess
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.descriptors import descriptor_limit
from gateway.core.server_tls import ServerTls
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.fronts.grpc.connections import open_calls
from gateway.fronts.http.entrance import BLOBS_PATH
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.host_check import ServedHosts
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.link.front import LinkFront
from gateway.fronts.web.web_lane import web_lane
from gateway.server.backend import Backend, open_backend, open_bridge
from gateway.server.defects import ended_by_defects
from gateway.server.descriptor_watch import watched_descriptors
from gateway.server.gauges import gauged
from gateway.server.listening import Addresses, listen, reachable_url
from gateway.server.metrics_port import open_metrics
from gateway.server.oversight import overseen, storage_limits
from gateway.server.overview_source import overview_events, overview_pages
from gateway.server.settings import BridgeSettings, ServeSettings
from gateway.server.tls_checks import server_tls
from gateway.server.worker_pool import WorkerPool

CONNECTION_BYTES = 16 << 10
"""About what an HTTP connection takes that waits for a request. All of them take a quarter of the memory at most."""

TLS_BYTES = 32 << 10
"""About what it takes more over TLS."""

STOP_SECONDS = 4.0
"""Seconds in which the runtime and the fronts stop. Open calls get what the runtime leaves of them."""

LEAST_GRACE = 0.5
"""Seconds that open calls get in any case."""

_SWITCH_SECONDS = 0.0002
"""Less than a turn of the event loop in which runs execute: `concurrency.fair_turns.TURN_SECONDS`."""

_GC_THRESHOLDS = (1_000, 2, 100_000)
"""A thousand new objects are collected in a third of a millisecond, some thousand that have outlived this in 10 ms. A
full collection, of all of them, comes after 300 million more objects have been made than freed."""

MAX_INTERNAL = (1 << 31) - 1
"""The largest message between the processes of one gateway: the workers bound what clients may send."""


@asynccontextmanager
async def running(settings: ServeSettings, *, worker_key: bytes | None = None) -> AsyncIterator[Addresses]:
    """Keep a gateway running: it takes calls when the block is entered, and has stopped when it has been left.

    Raises SettingsError or StartError if it cannot start, and BrokenError in the block if it has to stop. A worker
    shares its ports with other processes, and its health is that of its upstream; `worker_key` makes the capabilities
    of its gateway.
    """
    is_worker = worker_key is not None
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watched_descriptors())
        account = MemoryAccount(settings.max_memory)
        tls = await _watched_tls(settings, stack)
        backend = await open_backend(settings, account, stack, is_worker=is_worker)
        backend.admit_servers(worker_key or Capabilities.new_key(), settings.blob_api_url)
        stack.enter_context(overseen(backend, settings, settings.runtime if is_worker else None))
        watching = await stack.enter_async_context(AsyncExitStack())
        grpc = _grpc_front(settings, backend, account, tls, is_worker=is_worker) if settings.takes_calls else None
        http = _http_front(settings, backend, account, tls, is_worker=is_worker, grpc=grpc)
        fronts: dict[str, GrpcFront | HttpFront] = {"http": http} if grpc is None else {"grpc": grpc, "http": http}
        blobs = await _plain_blobs(settings, backend, account, stack)
        stack.push_async_callback(_stop, backend, *fronts.values())
        stack.push_async_exit(_ending_streams(settings.drain_seconds, *fronts.values()))
        # Component servers are told the URL of the blob API when they start, so HTTP comes first.
        await listen(http, "--http-address")
        await backend.start(settings.blob_api_url or blobs or reachable_url(http.address, BLOBS_PATH))
        if grpc is not None:
            await listen(grpc, "--grpc-address")
        backend.resume()
        http.started()
        # Last, since its default address yields to the others. A worker tells the process with the runtime instead.
        metrics = None if is_worker else await open_metrics(settings, watching, access=backend.access, tls=tls)
        async with _announced_end(settings.drain_delay, *fronts.values()):
            with gauged(account, fronts), ended_by_defects(backend.runtime.readiness):
                yield Addresses("" if grpc is None else grpc.address, http.address, metrics)


@asynccontextmanager
async def running_with(workers: WorkerPool, settings: ServeSettings) -> AsyncIterator[Addresses]:
    """Keep a gateway running whose fronts are in `workers`, and whose runtime, for all of them, is in this process."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watched_descriptors())
        account = MemoryAccount(settings.max_memory // 2)
        backend = await open_backend(settings, account, stack)
        backend.admit_servers(workers.key, settings.blob_api_url)
        stack.enter_context(overseen(backend, settings))
        tls = await _watched_tls(settings, stack)
        more = partial(overview_pages, settings, backend)
        metrics = await open_metrics(settings, stack, access=backend.access, tls=tls, workers=workers, for_workers=more)
        believing = WorkerAccess()
        believing.limits = storage_limits(backend, settings)
        upstream = GrpcFront(
            backend.services,
            workers.upstream,
            access=believing,
            account=account,
            limits=_upstream_limits(settings),
            observed=False,  # They are the calls of clients of the workers.
        )
        link = LinkFront(backend.runtime, backend.service.hub, workers.link, account, limits=believing.limits)
        blobs = await _plain_blobs(settings, backend, account, stack)
        stack.push_async_callback(_stop, backend, upstream)
        stack.push_async_callback(link.stop)
        stack.push_async_callback(workers.stop)
        stack.push_async_callback(backend.finish_tasks)
        await listen(upstream, "TMPDIR")
        await listen(link, "TMPDIR")
        # Runs that go on may need the blob API at once, so workers come first.
        await workers.start()
        await backend.start(settings.blob_api_url or blobs or reachable_url(workers.http_address, BLOBS_PATH))
        backend.resume()
        with gauged(account), ended_by_defects(backend.runtime.readiness):
            yield Addresses(workers.grpc_address, workers.http_address, metrics)


@asynccontextmanager
async def bridging(settings: BridgeSettings) -> AsyncIterator[Addresses]:
    """Keep a bridge running. Component servers find blobs at the address of HTTP; there is none of gRPC."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watched_descriptors())
        account = MemoryAccount(settings.max_memory)
        tls = await _watched_tls(settings, stack)
        backend = await open_bridge(settings, account, stack)
        backend.admit_servers(Capabilities.new_key(), settings.blob_api_url)
        stack.enter_context(overseen(backend, settings))
        watching = await stack.enter_async_context(AsyncExitStack())
        http = _http_front(settings, backend, account, tls)
        blobs = await _plain_blobs(settings, backend, account, stack)
        stack.push_async_callback(_stop, backend, http)
        await listen(http, "--http-address")
        await backend.start(settings.blob_api_url or blobs or reachable_url(http.address, BLOBS_PATH))
        http.started()
        metrics = await open_metrics(settings, watching, access=backend.access, tls=tls)
        with gauged(account, {"http": http}), ended_by_defects(backend.runtime.readiness):
            yield Addresses("", http.address, metrics)


def _grpc_front(
    settings: ServeSettings, backend: Backend, account: MemoryAccount, tls: ServerTls | None, *, is_worker: bool
) -> GrpcFront:
    return GrpcFront(
        backend.services,
        settings.grpc_address,
        access=backend.access,
        account=account,
        limits=_grpc_limits(settings),
        transport=settings.transport,
        reuse_port=is_worker,
        tls=tls,
    )


def _http_front(
    settings: ServeSettings | BridgeSettings,
    backend: Backend,
    account: MemoryAccount,
    tls: ServerTls | None,
    *,
    is_worker: bool = False,
    grpc: GrpcFront | None = None,
) -> HttpFront:
    """The HTTP front, which serves the methods of the gRPC front as well, if there is one."""
    limits = _http_limits(settings.as_serve() if isinstance(settings, BridgeSettings) else settings)
    only_blobs = isinstance(settings, ServeSettings) and not settings.takes_calls
    return HttpFront(
        backend.methods,
        settings.http_address,
        access=backend.access,
        account=account,
        limits=limits,
        lane=None if grpc is None else web_lane(grpc, backend.access, limits),
        hosts=ServedHosts(settings.allow_hosts, _own_hosts(settings), settings.allow_origins),
        reuse_port=is_worker,
        tls=tls,
        only_blobs=only_blobs,
        overview=None if only_blobs else overview_events(settings, backend, is_worker=is_worker),
        ui=isinstance(settings, ServeSettings) and settings.ui and not only_blobs,
    )


async def _watched_tls(settings: ServeSettings | BridgeSettings, stack: AsyncExitStack) -> ServerTls | None:
    """TLS of the ports, if they speak it, whose files are watched until the stack is closed."""
    tls = await asyncio.to_thread(server_tls, settings)
    if tls is not None:
        await stack.enter_async_context(tls.watched())
    return tls


async def _plain_blobs(
    settings: ServeSettings | BridgeSettings, backend: Backend, account: MemoryAccount, stack: AsyncExitStack
) -> str | None:
    """The URL of a blob API without TLS, on loopback, beside ports that speak TLS; None if nobody needs it.

    Component servers trust no certificate of ours, and have none to show.
    """
    if settings.tls_cert is None or settings.blob_api_url is not None or not settings.components:
        return None
    blobs = HttpFront(backend.methods, "127.0.0.1:0", access=backend.access, account=account, only_blobs=True)
    stack.push_async_callback(blobs.stop, LEAST_GRACE)
    await listen(blobs, "--http-address")
    return reachable_url(blobs.address, BLOBS_PATH)


def tune_interpreter() -> None:
    """Make the pauses of the interpreter short, for a process that has started and now serves."""
    _shorten_collections()
    _share_with_threads()


def _shorten_collections() -> None:
    """Make collections of garbage short.

    Tens of thousands of open streams or nested runs are millions of objects that live for long. A collection stops
    everything, for up to 3 µs for each object that it looks at. So objects are looked at twice while they are few, and
    then never again, or all but never: `_GC_THRESHOLDS`. The garbage of a call is freed without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _share_with_threads() -> None:
    """Let other threads have the interpreter soon.

    The event loop lets go of the interpreter in each of its turns, and has it back before a thread that waits has woken
    up. Such a thread asks for it by force when it has waited for the switch interval without a break: never, if that is
    longer than the turns of a busy loop. Writes to the state took seconds.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)


@asynccontextmanager
async def _announced_end(seconds: float, *fronts: GrpcFront | HttpFront) -> AsyncIterator[None]:
    """Serve on for so long when the block is left, while health reports the end; not if an error has ended it.

    Load balancers look every few seconds. Until then, they send calls that would be refused.
    """

    async def announce() -> None:
        await asyncio.gather(*(front.drain() for front in fronts))
        await asyncio.sleep(seconds)

    try:
        yield
    except asyncio.CancelledError:
        await announce()
        raise
    else:
        await announce()


def _ending_streams(seconds: float, *fronts: GrpcFront | HttpFront) -> Callable[..., Awaitable[None]]:
    """What ends the streams of fronts, a few at a time, before they stop; nothing if an error has ended the gateway."""

    async def end(kind: type[BaseException] | None, *_: object) -> None:
        if seconds and kind in (None, asyncio.CancelledError):
            await asyncio.gather(*(front.end_streams(seconds) for front in fronts))

    return end


async def _stop(backend: Backend, *fronts: GrpcFront | HttpFront) -> None:
    # Load balancers are told first; then waiting calls are sent away; then no call is left.
    await asyncio.gather(*(front.drain() for front in fronts))
    await backend.finish_tasks()
    clock = asyncio.get_running_loop().time
    end = clock() + STOP_SECONDS
    await backend.runtime.drain()
    grace = max(LEAST_GRACE, end - clock())
    # Nothing executes any more. Component servers may need as long to stop as the fronts.
    await asyncio.gather(backend.stop_components(), *(front.stop(grace) for front in fronts))


def _grpc_limits(settings: ServeSettings) -> GrpcLimits:
    size = settings.max_message_bytes
    return GrpcLimits(
        receive=size,
        send=size,
        calls=settings.max_calls,
        waits=settings.max_waiting_calls,
        patience=settings.body_timeout,
        streams=open_calls(settings.max_memory),
        connection_age=settings.max_connection_age,
        age_grace=settings.max_connection_age_grace,
    )


def _upstream_limits(settings: ServeSettings) -> GrpcLimits:
    """The limits of all workers together. Each has one connection for all of its clients."""
    number = settings.workers
    # Each worker follows the health of this process as well, and of the components below each prefix.
    followed = 1 + len(settings.components)
    return GrpcLimits(
        receive=MAX_INTERNAL,
        send=MAX_INTERNAL,
        calls=settings.max_calls * number,
        waits=(settings.max_waiting_calls + followed) * number,
        streams=settings.max_calls + settings.max_waiting_calls + followed,
    )


def _own_hosts(settings: ServeSettings | BridgeSettings) -> list[str]:
    """The host by which component servers reach the blob API, if they are told one."""
    host = None if settings.blob_api_url is None else urlsplit(settings.blob_api_url).hostname
    return [] if host is None else [f"[{host}]" if ":" in host else host]


def _http_limits(settings: ServeSettings) -> HttpLimits:
    each = CONNECTION_BYTES if settings.tls_cert is None else CONNECTION_BYTES + TLS_BYTES
    return HttpLimits(
        body=settings.max_message_bytes,
        requests=settings.max_waiting_calls,
        connections=max(1, min(descriptor_limit() // 3, settings.max_memory // 4 // each)),
        body_seconds=settings.body_timeout,
        connection_age=settings.max_connection_age,
        age_grace=settings.max_connection_age_grace,
    )
