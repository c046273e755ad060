import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.server.span_queue import REPEAT_SECONDS, CountedExporter, SpanQueue
from gateway.telemetry.trace_metrics import LOST


class HeldExporter(SpanExporter):
    """Takes nothing while it is `held`; `raises` once it goes on, or fails."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.entered = threading.Event()
        self.result = SpanExportResult.SUCCESS
        self.exported = 0
        self.is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.held.wait()
        self.exported += len(spans)
        return self.result

    def shutdown(self) -> None:
        self.is_shut_down = True
        self.held.set()


@pytest.fixture
def exporter() -> Iterator[HeldExporter]:
    made = HeldExporter()
    yield made
    made.held.set()


def traced(queue: SpanQueue) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    return provider


def end_spans(provider: TracerProvider, number: int) -> None:
    tracer = provider.get_tracer("test")
    for _ in range(number):
        tracer.start_span("a").end()


def test_what_is_ended_is_sent_when_the_provider_is_shut_down(exporter: HeldExporter) -> None:
    exporter.held.set()
    provider = traced(SpanQueue(CountedExporter(exporter, "here")))
    end_spans(provider, 3)
    provider.shutdown()
    assert exporter.exported == 3
    assert exporter.is_shut_down


def test_the_queue_is_bounded_and_what_is_lost_is_told_once(
    exporter: HeldExporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    before = LOST.value
    queue = SpanQueue(CountedExporter(exporter, "here"))
    provider = traced(queue)
    end_spans(provider, 2)
    exporter.entered.wait()  # Two are being sent: four more have room.
    end_spans(provider, 14)
    assert LOST.value - before == 10
    assert [record.getMessage() for record in caplog.records] == [
        "1 spans could not be sent to the collector at here, 1 so far"
    ]
    exporter.held.set()
    provider.shutdown()
    assert exporter.exported == 6


def test_a_queue_that_is_given_up_counts_what_is_left(
    exporter: HeldExporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    exporter.result = SpanExportResult.FAILURE
    queue = SpanQueue(CountedExporter(exporter, "here"))
    provider = traced(queue)
    before = LOST.value
    end_spans(provider, 2)
    exporter.entered.wait()
    end_spans(provider, 5)
    queue.give_up()
    provider.shutdown()
    assert LOST.value - before >= 5
    assert [record.getMessage() for record in caplog.records][-1].endswith("so far")


def test_failures_are_counted_and_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            raise RuntimeError("no")

    now = 0.0
    counted = CountedExporter(Broken(), "here", lambda: now)
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        assert counted.export([]) is SpanExportResult.FAILURE
        counted.lose(2)
    now = REPEAT_SECONDS
    counted.lose(1)
    assert [record.getMessage() for record in caplog.records] == [
        "0 spans could not be sent to the collector at here, 0 so far",
        "11 spans could not be sent to the collector at here, 11 so far",
    ]


def test_spans_that_are_not_sampled_are_not_queued(exporter: HeldExporter) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    queue = SpanQueue(CountedExporter(exporter, "here"))
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(queue)
    end_spans(provider, 3)
    exporter.held.set()
    provider.shutdown()
    assert exporter.exported == 0


@pytest.mark.parametrize("size", ["0", "many"])
def test_a_variable_that_has_no_meaning_is_refused(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", size)
    with pytest.raises(ValueError, match=r"."):
        SpanQueue(CountedExporter(HeldExporter(), "here"))
