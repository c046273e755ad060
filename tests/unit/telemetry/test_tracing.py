from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from gateway.telemetry import tracing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.traced_by(provider):
        yield exporter


def test_nothing_is_made_while_tracing_is_off() -> None:
    with tracing.span("a") as made:
        assert made is None
    assert tracing.start("a") is None
    assert tracing.in_span(None) is None


def test_a_span_is_current_in_its_block(spans: InMemorySpanExporter) -> None:
    with tracing.span("outer") as outer:
        assert outer is trace.get_current_span()
        with tracing.span("inner"):
            pass
    inner, ended = spans.get_finished_spans()
    assert (inner.name, ended.name) == ("inner", "outer")
    assert inner.parent == ended.context


def test_an_exception_is_marked(spans: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), tracing.span("a"):
        raise KeyError
    (ended,) = spans.get_finished_spans()
    assert ended.status.status_code is StatusCode.ERROR
    assert ended.attributes == {"error.type": "KeyError"}


def test_a_trace_goes_on_from_what_was_carried(spans: InMemorySpanExporter) -> None:
    context = tracing.extracted({"traceparent": PARENT, "tracestate": "a=b", "baggage": "user=x"})
    with tracing.span("a", parent=context) as made:
        assert made is not None
        own = trace.format_span_id(made.get_span_context().span_id)
        assert tracing.ids() == (TRACE_ID, own)
        assert tracing.injected() == {
            "traceparent": f"00-{TRACE_ID}-{own}-01",
            "tracestate": "a=b",
            "baggage": "user=x",
        }


@pytest.mark.parametrize("text", ["", "x", "00-0-0-01", f"00-{'0' * 32}-{SPAN_ID}-01"])
def test_what_is_no_trace_carries_none(text: str) -> None:
    assert tracing.extracted({"traceparent": text}) is None


def test_the_ids_of_a_span_elsewhere_make_a_context() -> None:
    context = tracing.of_ids(TRACE_ID, SPAN_ID)
    assert tracing.ids(context) == (TRACE_ID, SPAN_ID)
    assert tracing.injected(context) == {"traceparent": PARENT}


@pytest.mark.parametrize(("trace_id", "span_id"), [(None, None), (TRACE_ID, None), ("x", SPAN_ID), ("0", SPAN_ID)])
def test_other_ids_make_none(trace_id: str | None, span_id: str | None) -> None:
    assert tracing.of_ids(trace_id, span_id) is None
