"""The spans that this process makes while a block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from gateway.telemetry import tracing


class EndedSpans:
    """What has ended, in the order of the ends."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self) -> tuple[ReadableSpan, ...]:
        """All of them."""
        return self._exporter.get_finished_spans()

    def named(self, name: str, **attributes: Any) -> list[ReadableSpan]:
        """Those with this name, and with these attributes: `_` in their names stands for a dot, and `__` for itself."""
        wanted = {
            name.replace("__", "~").replace("_", ".").replace("~", "_"): value for name, value in attributes.items()
        }
        return [span for span in self.all() if span.name == name and wanted.items() <= (span.attributes or {}).items()]

    def only(self, name: str, **attributes: Any) -> ReadableSpan:
        """The one with this name."""
        (span,) = self.named(name, **attributes)
        return span

    def clear(self) -> None:
        """Forget them."""
        self._exporter.clear()

    def way(self, span: ReadableSpan) -> list[str]:
        """The names from the root to this span. A span elsewhere, or one that has not ended, is `...`."""
        known = {each.context.span_id: each for each in self.all() if each.context is not None}
        names = [span.name]
        while span.parent is not None:
            if span.parent.span_id not in known:
                return ["...", *names]
            span = known[span.parent.span_id]
            names.insert(0, span.name)
        return names

    def ways(self) -> list[list[str]]:
        """The ways to all of them, sorted."""
        return sorted(map(self.way, self.all()))


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    """The ids of the trace and of the span, in hexadecimal."""
    assert span.context is not None
    return format_trace_id(span.context.trace_id), format_span_id(span.context.span_id)


@contextmanager
def recorded_spans() -> Iterator[EndedSpans]:
    """Let spans be made, and record them."""
    spans = EndedSpans()
    with tracing.traced_by(spans.provider):
        yield spans
