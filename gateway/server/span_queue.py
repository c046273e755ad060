"""Spans that wait to be sent to a collector: a bounded number of them, and those that are lost are counted.

It needs the SDK of the extra `otel`.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gateway.telemetry.trace_metrics import LOST

MOST_WAITING: Final = 2048
"""How many spans wait at most, unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise."""

REPEAT_SECONDS: Final = 60.0
"""How often at most the log says that spans are lost."""

_log = logging.getLogger(__name__)


class CountedExporter(SpanExporter):
    """Sends spans by another exporter to a collector, `name`. It counts those that are lost, and warns of them rarely.

    Its methods are called by the thread that sends.
    """

    def __init__(self, exporter: SpanExporter, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._lost = 0
        self._told = 0
        self._tell_at = 0.0
        self._closed = False
        self.taken = 0
        """How many spans have been taken out of the queue."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception:  # A span that cannot be written must not end the thread, nor fill the log.
            result = SpanExportResult.FAILURE
            _log.debug("spans cannot be sent", exc_info=True)
        if result is not SpanExportResult.SUCCESS:
            self.lose(len(spans))
        return result

    def lose(self, number: int, *, at_last: bool = False) -> None:
        """Count spans that do not reach the collector; `at_last` tells in any case. Any thread may call it."""
        with self._lock:
            LOST.value += number
            self._lost += number
            now = self._clock()
            if now < self._tell_at and not at_last:
                return
            self._tell_at = now + REPEAT_SECONDS
            lost, self._told = self._lost - self._told, self._lost
        _log.warning("%d spans could not be sent to the collector at %s, %d so far", lost, self._name, self._lost)

    def close(self) -> None:
        """Give up what is being sent."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()

    def shutdown(self) -> None:
        self.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class SpanQueue(SpanProcessor):
    """Hands spans that have ended to an exporter, many at once, in a thread. What is too much is lost.

    The processor of the SDK logs that for each span, and counts none.
    """

    def __init__(self, exporter: CountedExporter) -> None:
        """Raises ValueError if a variable `OTEL_BSP_*` has no meaning."""
        self._exporter = exporter
        self._most = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or MOST_WAITING)
        self._ended = 0
        self._sending = BatchSpanProcessor(exporter, max_queue_size=self._most)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        if self._ended - self._exporter.taken >= self._most:
            self._exporter.lose(1)
            return
        self._ended += 1
        self._sending.on_end(span)

    def shutdown(self) -> None:
        self._sending.shutdown()  # type: ignore[no-untyped-call]

    def give_up(self) -> None:
        """Send no more, and count what is left as lost."""
        self._exporter.close()
        if left := self._ended - self._exporter.taken:
            self._exporter.lose(left, at_last=True)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._sending.force_flush(timeout_millis)
