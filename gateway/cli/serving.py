"""Runs the servers of the commands `serve` and `bridge`."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from gateway.cli.errors import CommandError, UsageError
from gateway.cli.forms import print_json
from gateway.cli.lines import print_line
from gateway.cli.output import object_json
from gateway.core.clock import start_of_run
from gateway.core.descriptors import raise_descriptor_limit
from gateway.core.errors import StateUnavailable
from gateway.core.readiness import BrokenError
from gateway.core.sizes import size_text
from gateway.server.log import log_to_stderr, set_log_level
from gateway.server.machine_memory import warn_if_beyond
from gateway.server.scheduling import use_batch_scheduling
from gateway.server.service_manager import told_to_service_manager
from gateway.server.setting_forms import RuntimeKind
from gateway.server.settings import BridgeSettings, ServeSettings, SettingsError, StartError
from gateway.server.settings_sources import load_bridge, load_serve, mistyped_variables
from gateway.server.signals import cancel_on_signals, ignore_hangups
from gateway.server.trace_export import exported_traces, flush_seconds
from gateway.server.worker_pool import WorkerPool

S = TypeVar("S", ServeSettings, BridgeSettings)

_log = logging.getLogger(__name__)

_LABELS = {"grpc": "gRPC", "http": "HTTP"}


def serve(flags: Mapping[str, Any], file: Path | None, *, as_json: bool) -> None:
    """Serve until a signal comes, and print where once the gateway is ready.

    `flags` has the values of settings by their names. Raises CommandError if the gateway cannot start.
    """
    ignore_hangups()
    settings = _load(load_serve, flags, file, "gateway")
    _run(partial(_serve, settings, as_json), settings.log_level)


def bridge(flags: Mapping[str, Any], file: Path | None, *, as_json: bool) -> None:
    """Be a bridge until a signal comes, as `serve` is a gateway."""
    ignore_hangups()
    settings = _load(load_bridge, flags, file, "bridge")
    _run(partial(_bridge, settings, as_json), settings.log_level)


def _load(
    load: Callable[[Mapping[str, Any], Mapping[str, str], Path | None], S],
    flags: Mapping[str, Any],
    file: Path | None,
    process: str,
) -> S:
    """Return the settings, by which the log is written from now on. Raises UsageError if they are not valid."""
    try:
        settings = load(flags, os.environ, file)
        log_to_stderr(process, settings.log_format)
        for line in mistyped_variables(type(settings), os.environ):
            _log.warning(line)
        return settings
    except SettingsError as error:
        raise UsageError(str(error)) from None


def _run(server: Callable[[], Coroutine[Any, Any, None]], log_level: str) -> None:
    """Run a server until a signal comes. Raises CommandError if it cannot start."""
    try:
        start_of_run()
    except StateUnavailable as error:
        raise CommandError(error.message) from None
    set_log_level(log_level)
    use_batch_scheduling()
    raise_descriptor_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server())
    except SettingsError as error:
        raise UsageError(str(error)) from None
    except (StartError, BrokenError) as error:
        raise CommandError(str(error)) from None


async def _serve(settings: ServeSettings, as_json: bool) -> None:
    warn_if_beyond(settings.max_memory)
    # The tasks of a queue are finished first, however long they take.
    delay = settings.drain_delay + settings.drain_seconds + flush_seconds(settings.traces)
    with cancel_on_signals(in_time=settings.queue is None, delay=delay):
        async with AsyncExitStack() as stack:
            workers = await stack.enter_async_context(WorkerPool(settings)) if settings.workers > 1 else None
            # Workers are spawned before grpc is imported, and import it at the same time.
            await stack.enter_async_context(exported_traces(settings.traces))
            from gateway.fronts.http.ui_files import UI_PATH
            from gateway.server import app

            gateway = app.running(settings) if workers is None else app.running_with(workers, settings)
            addresses = await stack.enter_async_context(gateway)
            app.tune_interpreter()
            http = addresses.http if addresses.http.startswith("unix:") else f"{_scheme(settings)}://{addresses.http}"
            embedded = settings.runtime_kind is RuntimeKind.EMBEDDED
            runs = {"state": settings.state} if embedded else {"runtime": settings.runtime}
            memory = size_text(settings.max_memory)
            has_page = settings.ui and settings.takes_calls and not http.startswith("unix:")
            page = {"page": f"{http}{UI_PATH}"} if has_page else {}
            grpc = {"grpc": addresses.grpc} if settings.takes_calls else {}
            where = {**grpc, "http": http, **page, **_metrics(addresses.metrics)}
            _print_ready({**where, **runs, "memory": memory}, as_json)
            await _until_cancelled(where)


async def _bridge(settings: BridgeSettings, as_json: bool) -> None:
    from gateway.server import app

    warn_if_beyond(settings.max_memory)
    with cancel_on_signals(in_time=False):
        async with exported_traces(settings.traces), app.bridging(settings) as addresses:
            app.tune_interpreter()
            where = {
                "engine": settings.engine,
                "queue": settings.queue,
                "blobs": f"{_scheme(settings)}://{addresses.http}",
            }
            _print_ready({**where, **_metrics(addresses.metrics), "memory": size_text(settings.max_memory)}, as_json)
            await _until_cancelled(where)


async def _until_cancelled(where: Mapping[str, str]) -> None:
    """Wait for the end of a server that is ready, and keep its service manager informed."""
    status = ", ".join(f"{_LABELS.get(name, name)} {value}" for name, value in where.items())
    async with told_to_service_manager(os.environ, status):
        await asyncio.Event().wait()


def _metrics(url: str | None) -> dict[str, str]:
    return {} if url is None else {"metrics": url}


def _scheme(settings: ServeSettings | BridgeSettings) -> str:
    return "http" if settings.tls_cert is None else "https"


def _print_ready(values: Mapping[str, str], as_json: bool) -> None:
    """Print where a server listens and what it works on, then that it is ready."""
    if as_json:
        print_json(object_json(**values))
        return
    for name, value in values.items():
        print_line(f"{_LABELS.get(name, name):<7} {value}")
    print_line("ready")
