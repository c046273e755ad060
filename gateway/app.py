"""The gateway as one process: its parts built, started in order, and stopped in an order that loses nothing."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from gateway.components import Components
from gateway.config import ConfigError, ServeConfig
from gateway.dispatch import JsonRpcMethods
from gateway.fronts.grpc_front import GrpcFront, GrpcLimits
from gateway.fronts.http_front import BLOBS_PATH, HttpFront, HttpLimits
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.runtimes.embedded.sqlite_journal import StateError
from gateway.service import RunsService

STOP_GRACE = 5.0
"""Seconds that open calls get to end when the gateway stops."""


class StartError(Exception):
    """The gateway cannot start; the message is one line that names the flag to change."""


class Addresses(NamedTuple):
    """Where a running gateway listens: `HOST:PORT` with the port that it took, or `unix:PATH`."""

    grpc: str
    http: str


async def serve(config: ServeConfig, on_ready: Callable[[Addresses], None]) -> None:
    """Run the gateway until SIGTERM or SIGINT; a second signal ends the process at once.

    ConfigError or StartError if it cannot start.
    """
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()
    assert serving is not None
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        serving.cancel(stop)

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        async with running(config) as addresses:
            on_ready(addresses)
            await asyncio.Event().wait()
    except asyncio.CancelledError as cancelled:
        if cancelled.args != (stop,):
            raise
        serving.uncancel()


@asynccontextmanager
async def running(config: ServeConfig) -> AsyncIterator[Addresses]:
    """Keep a gateway running: it takes calls when the block is entered, and has stopped when it has been left."""
    async with AsyncExitStack() as stack:

        async def callback(body: bytes, scope: str) -> bytes | None:
            await methods.turnstile.resume()
            return await methods.call(body, scope)

        components = _components(config, callback, lambda: _blob_api_url(http.address))
        stack.push_async_callback(components.close)
        try:
            runtime = await EmbeddedRuntime.open(config.state, components)
        except StateError as error:
            raise StartError(f"{error} (--state)") from None
        stack.push_async_callback(runtime.close)
        service = RunsService(runtime)
        methods = JsonRpcMethods(service)
        grpc = GrpcFront(service, config.grpc_address, limits=_grpc_limits(config))
        http = HttpFront(methods, service, config.http_address, limits=_http_limits(config))

        async def stop() -> None:
            # First whoever balances load is told, then waiting calls are sent away, then no call is left.
            await asyncio.gather(grpc.drain(), http.drain())
            await runtime.drain()
            await asyncio.gather(grpc.stop(STOP_GRACE), http.stop(STOP_GRACE))

        stack.push_async_callback(stop)
        # Component servers are told where blobs are when they start, so HTTP comes first.
        await _listen(http, "--http-address")
        await components.start()
        await runtime.start()
        await _listen(grpc, "--grpc-address")
        yield Addresses(grpc.address, http.address)


def _components(
    config: ServeConfig,
    callback: Callable[[bytes, str], Awaitable[bytes | None]],
    blob_api_url: Callable[[], str | None],
) -> Components:
    try:
        return Components(
            config.components, callback=callback, blob_api_url=blob_api_url, environment=config.component_env
        )
    except ValueError as error:
        raise ConfigError(f"{error} (--component)") from None


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


def _grpc_limits(config: ServeConfig) -> GrpcLimits:
    size = config.max_message_bytes
    return GrpcLimits(receive=size, send=size, calls=config.max_calls, waits=config.max_waiting_calls)


def _http_limits(config: ServeConfig) -> HttpLimits:
    return HttpLimits(body=config.max_message_bytes, requests=config.max_waiting_calls)
