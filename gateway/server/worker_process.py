"""One worker of `serve --workers`, as a program; `gateway.server.worker_pool` starts and describes it."""

import asyncio
import logging
import os
import sys

import uvloop

from gateway.core.descriptors import raise_descriptor_limit
from gateway.core.readiness import BrokenError
from gateway.server import app
from gateway.server.log import log_to_stderr, set_log_level
from gateway.server.metrics_socket import told_metrics
from gateway.server.scheduling import use_batch_scheduling
from gateway.server.settings import ServeSettings, SettingsError, StartError
from gateway.server.signals import cancel_on_signals, ignore_hangups
from gateway.server.trace_export import exported_traces, flush_seconds
from gateway.server.worker_pool import READY

_log = logging.getLogger(__name__)


def main() -> None:
    """Read the settings, the key and the number of the worker from standard input, and serve.

    It ends when that input does, or when a signal comes.
    """
    ignore_hangups()
    log_to_stderr("worker")
    use_batch_scheduling()
    raise_descriptor_limit()
    settings = sys.stdin.readline()
    if not settings:
        return
    try:
        read = ServeSettings.model_validate_json(settings)
        key, _, number = sys.stdin.readline().partition(" ")
        name = f"worker-{number.strip() or 1}"
        log_to_stderr(name, read.log_format)
        set_log_level(read.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(read, bytes.fromhex(key), name))
    except BrokenError as error:
        # The parent starts another one in its place.
        _log.error("%s", error)
        sys.exit(1)
    except (SettingsError, StartError) as error:
        _say(str(error))
        sys.exit(1)


async def _serve(settings: ServeSettings, key: bytes, name: str) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _abandoned)
    # A service manager may signal every process, and the parent then signals this one again.
    delay = settings.drain_delay + settings.drain_seconds + flush_seconds(settings.traces)
    with cancel_on_signals(force_on_second=False, delay=delay):
        async with (
            exported_traces(settings.traces),
            told_metrics(settings.runtime, name),
            app.running(settings, worker_key=key),
        ):
            app.tune_interpreter()
            _say(READY)
            await asyncio.Event().wait()


def _abandoned() -> None:
    """The parent has ended, and the runtime with it: no call can end in order any more."""
    os._exit(1)


def _say(line: str) -> None:
    """Write a line for the parent."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
