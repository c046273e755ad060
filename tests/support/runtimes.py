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
from tests.support.held_tasks import engine_with_held_tasks
from tests.support.temporal_server import TemporalServer

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

TEMPORAL: Final = "temporal"
"""A gateway over a Temporal server, which executes the items itself."""

TEMPORAL_WORKERS: Final = "temporal-workers"
"""The same behind worker processes."""

TEMPORALS: Final = frozenset({TEMPORAL, TEMPORAL_WORKERS})

RUNTIMES: Final = (EMBEDDED, WORKERS, RELAY, SUPERSET, TEMPORAL, TEMPORAL_WORKERS, DOCUMENT, *STEPFLOW)

WITH_SETS: Final = (EMBEDDED, WORKERS, RELAY, TEMPORAL, TEMPORAL_WORKERS)
"""Those on which sets of runs are followed."""

_BEHIND_WORKERS: Final = frozenset({WORKERS, TEMPORAL_WORKERS})


@asynccontextmanager
async def gateway_over(runtime: str, folder: Path, *, held: bool = False) -> AsyncIterator[Addresses]:
    """A gateway over one of `RUNTIMES`, with everything that it needs, all state in `folder`.

    Engines may have the component of `held_tasks`, which does not end: what they have built in goes on after a cancel,
    at the cost of a processor.
    """
    async with AsyncExitStack() as stack:
        if held and runtime in STEPFLOW:
            engine, _ = await stack.enter_async_context(engine_with_held_tasks(STEPFLOW[runtime], folder))
            settings = _settings(engine.runtime, folder / "gateway.db")
        else:
            settings = await _started(runtime, folder, stack)
        if runtime in _BEHIND_WORKERS:
            workers = await stack.enter_async_context(WorkerPool(settings))
            yield await stack.enter_async_context(running_with(workers, settings))
        else:
            yield await stack.enter_async_context(running(settings))


async def _started(runtime: str, folder: Path, stack: AsyncExitStack) -> ServeSettings:
    """Start what a runtime runs on, and return the settings of its gateway."""
    state = folder / "gateway.db"
    if runtime in (RELAY, SUPERSET):
        upstream = await stack.enter_async_context(running(_settings(EMBEDDED, folder / "upstream.db")))
        return _settings(f"grpc://{upstream.grpc}" if runtime == RELAY else f"jsonrpc+http://{upstream.http}/", state)
    if runtime == DOCUMENT:
        return _settings(f"jsonrpc+{(await stack.enter_async_context(document_server())).url}", state)
    if runtime in STEPFLOW:
        engine = Engine(STEPFLOW[runtime], folder)
        stack.push_async_callback(engine.stop)
        await engine.start()
        return _settings(engine.runtime, state)
    workers = 2 if runtime in _BEHIND_WORKERS else 1
    if runtime in TEMPORALS:
        server = TemporalServer(folder)
        stack.push_async_callback(server.kill)
        await server.start()
        return _settings(server.runtime(), state, workers=workers, blobs=f"file://{folder}")
    return _settings(EMBEDDED, state, workers=workers)


def _settings(runtime: str, state: Path, *, workers: int = 1, blobs: str | None = None) -> ServeSettings:
    here = "127.0.0.1:0"
    return ServeSettings(
        runtime=runtime,
        state=str(state),
        blobs=blobs,
        workers=workers,
        grpc_address=here,
        http_address=here,
        metrics_address="off",
    )
