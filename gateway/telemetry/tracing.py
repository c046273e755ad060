"""Spans of OpenTelemetry, or nothing: while tracing is off, which is the default, no span is made.

Spans take their parents from the current context, as everywhere in OpenTelemetry, or from one that is given: a task
that works for many, or that outlives the call which began it, gives the context that it has kept.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes

from gateway.telemetry.propagation import read_context, write_context

SCOPE: Final = "runs-gateway"
"""The name of the instrumentation scope of all spans."""

tracer: trace.Tracer | None = None
"""What makes spans; None while tracing is off. Where a call costs microseconds, ask for it before anything else."""


@contextmanager
def traced_by(provider: trace.TracerProvider) -> Iterator[None]:
    """Let spans be made, while the block lasts."""
    global tracer  # noqa: PLW0603 - what a process does
    before, tracer = tracer, provider.get_tracer(SCOPE)
    try:
        yield
    finally:
        tracer = before


def start(
    name: str, kind: SpanKind = SpanKind.INTERNAL, parent: Context | None = None, attributes: Attributes = None
) -> Span | None:
    """A span that has begun, and that somebody ends; None while tracing is off."""
    return None if tracer is None else tracer.start_span(name, parent, kind, attributes)


@contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, parent: Context | None = None, attributes: Attributes = None
) -> Iterator[Span | None]:
    """A span that is current while the block lasts, and ends with it; exceptions are marked. None while off."""
    if tracer is None:
        yield None
        return
    made = tracer.start_span(name, parent, kind, attributes)
    token = contexts.attach(trace.set_span_in_context(made, parent))
    try:
        yield made
    except Exception as error:
        failed(made, type(error).__name__)
        raise
    finally:
        contexts.detach(token)
        made.end()


def failed(span: Span, error_type: str, description: str | None = None) -> None:
    """Mark a span as that of an error, as the conventions say: `error.type` is of low cardinality."""
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR, description))


def in_span(span: Span | None) -> Context | None:
    """The context whose current span is this one: the parent of further spans."""
    return None if span is None else trace.set_span_in_context(span)


def extracted(carrier: Mapping[str, str]) -> Context | None:
    """The context that headers or metadata carry, with baggage; None if they carry no trace."""
    context = read_context(carrier)
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def injected(context: Context | None = None) -> dict[str, str]:
    """The headers that carry a context: the current one, unless another is given. Empty if it has no trace."""
    return {} if context is None and not contexts.get_current() else write_context(context)


@contextmanager
def in_trace(carrier: Mapping[str, str]) -> Iterator[None]:
    """Let what headers carry be the context of the block, if they carry a trace."""
    context = extracted(carrier)
    if context is None:
        yield
        return
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def of_ids(trace_id: str | None, span_id: str | None) -> Context | None:
    """The context of a span elsewhere that is known by its ids, in hexadecimal; None if they are none of a span.

    Nobody says whether it is sampled, so it counts as sampled.
    """
    try:
        context = SpanContext(
            int(trace_id or "", 16), int(span_id or "", 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        )
    except ValueError:
        return None
    if not context.is_valid:
        return None
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context())


def ids(context: Context | None = None) -> tuple[str, str] | None:
    """The ids of the trace and of the span of a context, by default the current one, in hexadecimal; None without."""
    found = trace.get_current_span(context).get_span_context()
    if not found.is_valid:
        return None
    return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)
