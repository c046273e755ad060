"""The gateway as one process: its parts built, started in order, and stopped in an order that loses nothing."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from gateway.bridge import Bridge
from gateway.components import Components
from gateway.core.runtime import Runtime
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.fronts.http.front import BLOBS_PATH, HttpFront, HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.runtimes.jsonrpc.dialect import Dialect
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.runtimes.relay.runtime import RelayRuntime
from gateway.runtimes.stepflow.release import EngineError, Release, release_at
from gateway.runtimes.stepflow.runtime import StepflowRuntime
from gateway.server.settings import BridgeSettings, RuntimeKind, ServeSettings, SettingsError, StartError
from gateway.server.worker_pool import Workers
from gateway.storage.idempotency import Keys
from gateway.storage.sqlite_file import StateError

STOP_GRACE = 5.0
"""Seconds that open calls get to end when the gateway stops."""

CONNECT_SECONDS = 2.0
"""How long a relay that starts waits for its upstream, before it serves without."""

MAX_INTERNAL = (1 << 31) - 1
"""The largest message between the processes of one gateway: what clients may send is bounded where they are."""


class Addresses(NamedTuple):
    """Where a running gateway listens: `HOST:PORT` with the port that it took, or `unix:PATH`."""

    grpc: str
    http: str


@asynccontextmanager
async def running(config: ServeSettings, *, reuse_port: bool = False) -> AsyncIterator[Addresses]:
    """Keep a gateway running: it takes calls when the block is entered, and has stopped when it has been left.

    SettingsError or StartError if it cannot start. With `reuse_port`, other processes may listen on the same ports.
    """
    async with AsyncExitStack() as stack:
        core = await _core(config, stack, lambda: http.address)
        grpc = GrpcFront(
            core.service,
            config.grpc_address,
            limits=_grpc_limits(config),
            transport=config.transport,
            reuse_port=reuse_port,
        )
        http = HttpFront(
            core.methods, core.service, config.http_address, limits=_http_limits(config), reuse_port=reuse_port
        )
        stack.push_async_callback(_stop, core, (grpc, http))
        # Component servers are told where blobs are when they start, so HTTP comes first.
        await _listen(http, "--http-address")
        await core.start()
        await _listen(grpc, "--grpc-address")
        yield Addresses(grpc.address, http.address)


@asynccontextmanager
async def running_with(workers: Workers, config: ServeSettings) -> AsyncIterator[Addresses]:
    """Keep a gateway running whose fronts are `workers`, and whose runtime, for all of them, is in this process."""
    async with AsyncExitStack() as stack:
        core = await _core(config, stack, lambda: workers.http_address)
        upstream = GrpcFront(core.service, workers.upstream, limits=_upstream_limits(config))
        stack.push_async_callback(_stop, core, (upstream,))
        stack.push_async_callback(workers.stop)
        stack.push_async_callback(core.finish)
        await _listen(upstream, "TMPDIR")
        # Runs that go on may need the blob API at once, so workers come first.
        await workers.start()
        await core.start()
        yield Addresses(workers.grpc_address, workers.http_address)


@asynccontextmanager
async def bridging(config: BridgeSettings) -> AsyncIterator[str]:
    """Keep a bridge running. It gives the address at which component servers find blobs."""
    settings = config.as_serve()
    async with AsyncExitStack() as stack:
        if config.gateway is not None:
            await _refuse_without_queues(config.engine)
        core = await _core(settings, stack, lambda: http.address, config.engine)
        http = HttpFront(core.methods, core.service, settings.http_address, limits=_http_limits(settings))
        stack.push_async_callback(_stop, core, (http,))
        await _listen(http, "--http-address")
        await core.start()
        yield http.address


def tune_garbage_collection() -> None:
    """Make collections rare, for a process that has started and now serves.

    Tens of thousands of open streams are millions of objects that live for long, and each full collection looks at all
    of them: by default they take half of the processor. What a call leaves behind is freed without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


class _Core(NamedTuple):
    """What the fronts of a gateway serve.

    `start` lets component servers and the runs that had not finished go on; `finish` ends what has begun.
    """

    runtime: Runtime
    service: RunsService
    methods: JsonRpcMethods
    start: Callable[[], Awaitable[None]]
    finish: Callable[[], Awaitable[None]]


async def _core(
    config: ServeSettings, stack: AsyncExitStack, http_address: Callable[[], str], engine: str | None = None
) -> _Core:
    """Build everything behind the fronts; the stack closes it. `http_address` is asked when components start.

    `engine` is where a bridge finds its queue, if that is not the runtime.
    """

    async def callback(body: bytes, scope: str) -> bytes | None:
        await methods.fair_queue.yield_turn()
        return await methods.call(body, scope)

    match config.runtime_kind:
        case RuntimeKind.EMBEDDED:
            runtime, start = await _embedded(config, stack, callback, lambda: _blob_api_url(http_address()))
        case RuntimeKind.RELAY:
            runtime, start = await _relay(config, stack), _nothing
        case RuntimeKind.JSONRPC:
            runtime, start = await _jsonrpc(config, stack), _nothing
        case RuntimeKind.STEPFLOW:
            runtime, start = await _stepflow(config, stack, "--engine" if engine else "--runtime"), _nothing
    service = RunsService(runtime)
    stack.push_async_callback(service.close)
    methods = JsonRpcMethods(service)
    finish = _nothing
    if config.queue is not None:
        bridge = _bridge(config, engine or _http_url(config), callback, lambda: _blob_api_url(http_address()))
        stack.push_async_callback(bridge.close)
        start, finish = bridge.start, bridge.drain
    return _Core(runtime, service, methods, start, finish)


async def _nothing() -> None:
    """What there is to start and to finish for a runtime elsewhere."""


async def _relay(config: ServeSettings, stack: AsyncExitStack) -> Runtime:
    runtime = RelayRuntime(config.runtime)
    stack.push_async_callback(runtime.close)
    # It starts without its upstream as well: the two can then be started, and restarted, in any order.
    await runtime.connect(CONNECT_SECONDS)
    return runtime


async def _jsonrpc(config: ServeSettings, stack: AsyncExitStack) -> Runtime:
    dialect = None if config.dialect is None else Dialect(config.dialect)
    runtime = JsonRpcRuntime(_http_url(config), await _keys(config, stack), dialect=dialect)
    stack.push_async_callback(runtime.close)
    await runtime.connect(CONNECT_SECONDS)
    return runtime


async def _stepflow(config: ServeSettings, stack: AsyncExitStack, flag: str) -> Runtime:
    keys = await _keys(config, stack)
    try:
        runtime = await StepflowRuntime.open(_http_url(config), keys, lossy_numbers=config.lossy_numbers)
    except EngineError as error:
        raise StartError(f"{error} ({flag})") from None
    stack.push_async_callback(runtime.close)
    if config.queue is not None:
        _check_queues(runtime.release, flag)
    return runtime


async def _refuse_without_queues(engine: str) -> None:
    try:
        release = await release_at(engine)
    except EngineError as error:
        raise StartError(f"{error} (--engine)") from None
    _check_queues(release, "--engine")


def _check_queues(release: Release, flag: str) -> None:
    if not release.has_queues:
        raise StartError(
            f"the engine is of release {release.name}, which has no queues: it calls JSON-RPC component servers"
            f" itself; a bridge is for 0.12 and later ({flag})"
        )


def _bridge(
    config: ServeSettings,
    engine: str,
    callback: Callable[[bytes, str], Awaitable[bytes | None]],
    blob_api_url: Callable[[], str | None],
) -> Bridge:
    assert config.queue is not None
    try:
        return Bridge(
            engine,
            config.queue,
            config.components,
            callback=callback,
            blob_api_url=blob_api_url,
            environment=config.component_env,
            max_tasks=config.max_tasks,
            lossy_numbers=config.lossy_numbers,
        )
    except ValueError as error:
        raise SettingsError(f"{error} (--component)") from None


async def _keys(config: ServeSettings, stack: AsyncExitStack) -> Keys:
    try:
        keys = await Keys.open(config.state)
    except StateError as error:
        raise StartError(f"{error} (--state)") from None
    stack.push_async_callback(keys.close)
    return keys


def _http_url(config: ServeSettings) -> str:
    """Where a runtime elsewhere is reached over HTTP."""
    return config.runtime.removeprefix(f"{config.runtime_kind}+")


async def _embedded(
    config: ServeSettings,
    stack: AsyncExitStack,
    callback: Callable[[bytes, str], Awaitable[bytes | None]],
    blob_api_url: Callable[[], str | None],
) -> tuple[Runtime, Callable[[], Awaitable[None]]]:
    components = _components(config, callback, blob_api_url)
    stack.push_async_callback(components.close)
    try:
        runtime = await EmbeddedRuntime.open(config.state, components)
    except StateError as error:
        raise StartError(f"{error} (--state)") from None
    stack.push_async_callback(runtime.close)

    async def start() -> None:
        await components.start()
        await runtime.start()

    return runtime, start


async def _stop(core: _Core, fronts: tuple[GrpcFront | HttpFront, ...]) -> None:
    # First whoever balances load is told, then waiting calls are sent away, then no call is left.
    await asyncio.gather(*(front.drain() for front in fronts))
    await core.finish()
    await core.runtime.drain()
    await asyncio.gather(*(front.stop(STOP_GRACE) for front in fronts))


def _components(
    config: ServeSettings,
    callback: Callable[[bytes, str], Awaitable[bytes | None]],
    blob_api_url: Callable[[], str | None],
) -> Components:
    try:
        return Components(
            config.components, callback=callback, blob_api_url=blob_api_url, environment=config.component_env
        )
    except ValueError as error:
        raise SettingsError(f"{error} (--component)") from None


async def _listen(front: GrpcFront | HttpFront, flag: str) -> None:
    try:
        await front.start()
    except OSError:
        raise StartError(f"cannot listen on {front.address}: {_obstacle(front.address)} ({flag})") from None


def _obstacle(address: str) -> str:
    """Why nothing can listen at an address. grpc does not tell, and the event loop tells a whole story."""
    host, _, port = address.rpartition(":")
    try:
        if address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(address.removeprefix("unix:"))
        else:
            family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except OSError as error:
        return (error.strerror or str(error)).partition(" (while")[0]
    return "it was refused"


def _blob_api_url(http_address: str) -> str | None:
    """Where component servers reach the blob API, those on this machine at any rate."""
    if http_address.startswith("unix:"):
        return None
    host, _, port = http_address.rpartition(":")
    reachable = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"http://{reachable}:{port}{BLOBS_PATH}"


def _grpc_limits(config: ServeSettings) -> GrpcLimits:
    size = config.max_message_bytes
    return GrpcLimits(receive=size, send=size, calls=config.max_calls, waits=config.max_waiting_calls)


def _upstream_limits(config: ServeSettings) -> GrpcLimits:
    """What workers may ask for together."""
    number = config.workers
    return GrpcLimits(
        receive=MAX_INTERNAL,
        send=MAX_INTERNAL,
        calls=config.max_calls * number,
        waits=config.max_waiting_calls * number,
    )


def _http_limits(config: ServeSettings) -> HttpLimits:
    return HttpLimits(body=config.max_message_bytes, requests=config.max_waiting_calls)
