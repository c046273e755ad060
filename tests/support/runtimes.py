"""Every runtime there is, each behind a gateway of its own: what the conformance suite runs on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from gateway.server.app import running, running_with
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from gateway.server.worker_pool import WorkerPool
from tests.support.document_server import document_server
from tests.support.engine import RELEASES, Engine

EMBEDDED: Final = "embedded"
"""The runtime that is part of the gateway."""

RELAY: Final = "relay"
"""A gateway that relays to another over gRPC."""

WORKERS: Final = "workers"
"""The embedded runtime behind worker processes."""

SUPERSET: Final = "jsonrpc-gateway"
"""A gateway over another's JSON-RPC, which answers in all dialects at once and streams."""

DOCUMENT: Final = "jsonrpc-document"
"""A gateway over a server that knows what the specification says and nothing else."""

STEPFLOW: Final = {f"stepflow-{release}": release for release in RELEASES}
"""Gateways over each supported release of the engine."""

RUNTIMES: Final = (EMBEDDED, WORKERS, RELAY, SUPERSET, DOCUMENT, *STEPFLOW)


@asynccontextmanager
async def gateway_over(runtime: str, folder: Path) -> AsyncIterator[Addresses]:
    """A gateway over one of `RUNTIMES`, with everything that it needs, all state in `folder`."""
    async with AsyncExitStack() as stack:
        if runtime == WORKERS:
            settings = _settings(EMBEDDED, folder / "gateway.db", workers=2)
            workers = await stack.enter_async_context(WorkerPool(settings))
            yield await stack.enter_async_context(running_with(workers, settings))
        else:
            address = await _started(runtime, folder, stack)
            yield await stack.enter_async_context(running(_settings(address, folder / "gateway.db")))


async def _started(runtime: str, folder: Path, stack: AsyncExitStack) -> str:
    """Start what a runtime runs on, and return what `--runtime` calls it."""
    if runtime in (RELAY, SUPERSET):
        upstream = await stack.enter_async_context(running(_settings(EMBEDDED, folder / "upstream.db")))
        return f"grpc://{upstream.grpc}" if runtime == RELAY else f"jsonrpc+http://{upstream.http}/"
    if runtime == DOCUMENT:
        return f"jsonrpc+{(await stack.enter_async_context(document_server())).url}"
    if runtime in STEPFLOW:
        engine = Engine(STEPFLOW[runtime], folder)
        stack.push_async_callback(engine.stop)
        await engine.start()
        return engine.runtime
    return runtime


def _settings(runtime: str, state: Path, *, workers: int = 1) -> ServeSettings:
    here = "127.0.0.1:0"
    return ServeSettings(
        runtime=runtime,
        state=str(state),
        workers=workers,
        grpc_address=here,
        http_address=here,
        metrics_address="off",
    )
