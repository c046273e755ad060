"""Spans that a test makes, and looks at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.client import call_spans
from gateway.telemetry import tracing


class MadeSpans:
    """The spans that have ended in this process."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")
        """That of an application."""

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """All of them, in the order of their ends."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with a name."""
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one with a name."""
        (span,) = self.named(name)
        return span


@contextmanager
def client_spans() -> Iterator[MadeSpans]:
    """Let clients make spans, as in an application that has set up OpenTelemetry."""
    made = MadeSpans()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_spans, "_TRACER", made.tracer)
        yield made


@contextmanager
def gateway_spans() -> Iterator[MadeSpans]:
    """Let gateways in this process make spans."""
    made = MadeSpans()
    with tracing.traced_by(made.provider):
        yield made


class Parent(NamedTuple):
    """A span elsewhere, as it is told."""

    header: str
    trace_id: int
    span_id: int


def parent(*, sampled: bool = True) -> Parent:
    """A span elsewhere."""
    trace_id, span_id = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
    return Parent(f"00-{trace_id:032x}-{span_id:016x}-{sampled:02x}", trace_id, span_id)


def child_of(span: ReadableSpan, other: ReadableSpan) -> bool:
    """Whether a span is a child of another one."""
    return (
        span.parent is not None
        and span.parent.span_id == other.context.span_id
        and span.context.trace_id == other.context.trace_id
    )
