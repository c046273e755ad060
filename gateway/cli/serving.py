"""Runs the servers: the commands `serve` and `bridge`."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from gateway.cli import output
from gateway.cli.errors import CommandError, ExitCode
from gateway.server.scheduling import use_batch_scheduling
from gateway.server.settings import BridgeSettings, RuntimeKind, ServeSettings, SettingsError, StartError
from gateway.server.signals import cancel_on_signals
from gateway.server.worker_pool import WorkerPool


def serve(config: ServeSettings, *, as_json: bool) -> None:
    """Serve until a signal comes, and print where once the gateway is ready. CommandError if it cannot start."""
    _run(_serve(config, as_json))


def bridge(config: BridgeSettings, *, as_json: bool) -> None:
    """Be a bridge until a signal comes. CommandError if it cannot start."""
    _run(_bridge(config, as_json))


def _run(server: Coroutine[Any, Any, None]) -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    use_batch_scheduling()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server)
    except SettingsError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    except StartError as error:
        raise CommandError(str(error)) from None


async def _serve(config: ServeSettings, as_json: bool) -> None:
    with cancel_on_signals():
        async with AsyncExitStack() as stack:
            workers = await stack.enter_async_context(WorkerPool(config)) if config.workers > 1 else None
            # Workers are spawned before grpc is imported, and import it at the same time.
            from gateway.server import app

            gateway = app.running(config) if workers is None else app.running_with(workers, config)
            addresses = await stack.enter_async_context(gateway)
            app.tune_garbage_collection()
            _print_ready(config, addresses.grpc, addresses.http, as_json)
            await asyncio.Event().wait()


async def _bridge(config: BridgeSettings, as_json: bool) -> None:
    from gateway.server import app

    with cancel_on_signals():
        async with app.bridging(config) as http:
            app.tune_garbage_collection()
            lines = {"engine": config.engine, "queue": config.queue, "blobs": f"http://{http}"}
            if as_json:
                output.print_json(output.object_json(**lines))
            else:
                for name, value in lines.items():
                    output.print_line(f"{name:<6} {value}")
                output.print_line("ready")
            await asyncio.Event().wait()


def _print_ready(config: ServeSettings, grpc: str, http: str, as_json: bool) -> None:
    http = http if http.startswith("unix:") else f"http://{http}"
    embedded = config.runtime_kind is RuntimeKind.EMBEDDED
    name, value = ("state", config.state) if embedded else ("runtime", config.runtime)
    if as_json:
        output.print_json(output.object_json(grpc=grpc, http=http, **{name: value}))
        return
    output.print_line(f"gRPC   {grpc}")
    output.print_line(f"HTTP   {http}")
    output.print_line(f"{name:<6} {value}")
    output.print_line("ready")
