"""The spans of a process on their way to a collector of OpenTelemetry, as the variables `OTEL_*` say.

Only the processes of servers do so: an application that has a gateway or a client within it has a set-up of its own.
"""

import asyncio
import logging
import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry import trace

from gateway.server.settings import StartError
from gateway.telemetry import tracing
from gateway.telemetry.propagation import UnknownPropagator, check_propagators

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from gateway.server.span_queue import SpanQueue

FLUSH_SECONDS: Final = 2.0
"""How long the last spans may take to be sent when a server stops."""

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
"""The protocols. The former is the default, as the specification of OpenTelemetry has it."""

_DEFAULT_PLACES: Final = {HTTP: "http://localhost:4318", GRPC: "http://localhost:4317"}

_log = logging.getLogger(__name__)


def flush_seconds(traces: str) -> float:
    """How much longer a server may take to stop since it sends spans."""
    return 0.0 if traces == "off" else FLUSH_SECONDS


@asynccontextmanager
async def exported_traces(traces: str) -> AsyncIterator[None]:
    """Make spans while the block lasts, and send them, if `traces` says so. To be entered once in a process.

    What has not been sent when the block is left is sent then, within `FLUSH_SECONDS`. Raises StartError if the SDK is
    not installed, or if the variables do not make sense.
    """
    if traces == "off" or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield
        return
    provider, queue = _opened()
    trace.set_tracer_provider(provider)
    _quiet_libraries()
    with tracing.traced_by(provider):
        try:
            yield
        finally:
            await _flush(provider, queue)


def _opened() -> "tuple[TracerProvider, SpanQueue]":
    """Make what makes spans. What the libraries complain about meanwhile is an error: else spans would be lost."""
    complaints = _Complaints()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(complaints)
    try:
        check_propagators()
        made = _made()
    except UnknownPropagator as error:
        raise StartError(f"OTEL_PROPAGATORS: {error}") from None
    finally:
        logger.removeHandler(complaints)
    if complaints.first is not None:
        made[1].give_up()
        raise _nonsense(complaints.first)
    return made


class _Complaints(logging.Handler):
    """Keeps the first warning of a library."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


def _nonsense(problem: object) -> StartError:
    return StartError(f"--traces otlp cannot be set up as the variables OTEL_* say: {problem!s:.500}")


def _made() -> "tuple[TracerProvider, SpanQueue]":
    protocol = _variable("PROTOCOL") or HTTP
    if protocol not in _DEFAULT_PLACES:
        raise StartError(f"OTEL_EXPORTER_OTLP_PROTOCOL: expected '{GRPC}' or '{HTTP}', got {protocol!r:.100}")
    try:
        # Here, since they import grpc and more, and only those need it who send spans.
        from opentelemetry.sdk.trace import TracerProvider

        from gateway.server.span_queue import CountedExporter, SpanQueue

        exporter_class = _exporter_class(protocol)
    except ImportError as error:
        raise StartError(f"--traces otlp needs the extra 'otel', pip install 'runs-gateway[otel]': {error}") from None
    place = _variable("ENDPOINT") or _DEFAULT_PLACES[protocol]
    if not re.match(r"https?://[^/\s]", place) and not (protocol == GRPC and re.fullmatch(r"[^/\s]+:\d+", place)):
        raise StartError("OTEL_EXPORTER_OTLP_ENDPOINT: expected http://HOST:PORT")
    try:
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        exporter = CountedExporter(exporter_class(), f"{_shown(place)} ({protocol})")
        queue = SpanQueue(exporter)
        provider.add_span_processor(queue)
    except Exception as error:  # Whatever the SDK raises for values of variables that it does not understand.
        raise _nonsense(error) from None
    return provider, queue


def _exporter_class(protocol: str) -> "Callable[[], SpanExporter]":
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

        return OverGrpc
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

    return OverHttp


def _resource() -> "Resource":
    """Who makes the spans: as the variables say, and for the rest, this program in this process."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours: dict[str, str | int] = {
        "service.name": "runs-gateway",
        "service.version": version("runs-gateway"),
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "process.pid": os.getpid(),
    }
    told = OTELResourceDetector().detect().attributes
    return Resource.create({name: value for name, value in ours.items() if name not in told})


def _variable(name: str) -> str:
    """A variable for traces, else for all that is exported."""
    for prefix in ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"):
        if value := os.environ.get(prefix + name, "").strip():
            return value
    return ""


def _shown(place: str) -> str:
    """An address without credentials, for the log."""
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else place


def _quiet_libraries() -> None:
    """Let the SDK say nothing of its own, unless for `debug`: it logs each attempt, and `CountedExporter` tells."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in ("sdk", "exporter"):
            logging.getLogger(f"opentelemetry.{name}").setLevel(logging.CRITICAL)


async def _flush(provider: "TracerProvider", queue: "SpanQueue") -> None:
    """Send what is left, but not for long: then give it up, and the thread that waits for the collector."""
    loop, sent = asyncio.get_running_loop(), asyncio.Event()

    def send() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # Nobody waits any more.
            loop.call_soon_threadsafe(sent.set)

    threading.Thread(target=send, name="last-spans", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await sent.wait()
    except TimeoutError:
        pass
    finally:
        queue.give_up()
