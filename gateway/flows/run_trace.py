"""The trace of a run, which is kept with it, and goes on after a restart; and the spans of its items."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Self

import msgspec
from msgspec.structs import replace
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext

from gateway.adapter.params_json import observability_from_json, observability_to_json
from gateway.core.errors import GatewayError
from gateway.core.model import ItemResult, JsonText, Nanoseconds, ObservabilityContext
from gateway.flows.run_record import RunRecord
from gateway.telemetry import execution_spans, tracing
from gateway.telemetry.semconv import ITEM_INDEX, RUN_ID, SpanAttributes

MAX_ITEM_SPANS: Final = 1_000
"""How many items of a run have spans: the first ones. What the others do is not recorded, as if it was not sampled."""

MAX_CARRIED: Final = 8_192
"""The longest header of a context that is kept, in characters."""

_CARRIED: Final = "carried"


def with_context(record: RunRecord, given: ObservabilityContext | None) -> RunRecord:
    """The record of a run that is submitted now, with the context of the call beside the trace that its caller gave.

    While tracing is off, and for a call without a trace, it stays as it is.
    """
    if tracing.tracer is None or (ids := tracing.ids()) is None:
        return record
    carried = {name: text for name, text in tracing.injected().items() if len(text) <= MAX_CARRIED}
    given = given or ObservabilityContext()
    extensions = {**given.extensions, _CARRIED: msgspec.json.encode(carried).decode()}
    given = replace(given, trace_id=ids[0], span_id=ids[1], extensions=extensions)
    return replace(record, observability=observability_to_json(given))


class RunTrace:
    """The context that the items of a run have as their parent. It is made only while tracing is on."""

    def __init__(self, run_id: str, context: Context) -> None:
        self._run_id = run_id
        self._context = context
        self._unrecorded: Context | None = None

    @classmethod
    def of_record(cls, record: RunRecord) -> Self:
        """That of a run that was accepted earlier."""
        return cls(record.run_id, _kept_context(record.observability) or Context())

    @classmethod
    def of_call(cls, record: RunRecord) -> Self:
        """That of a run that the present call submits, which it may outlive: nothing else of the call is held."""
        context = contexts.get_current()
        span = trace.get_current_span(context).get_span_context()
        if not span.is_valid:
            return cls.of_record(record)
        return cls(record.run_id, trace.set_span_in_context(NonRecordingSpan(span), context))

    @contextmanager
    def item(self, index: int) -> Iterator[Span]:
        """The span of an item, while it executes."""
        if index < MAX_ITEM_SPANS and (span := self._start(index)) is not None:
            with execution_spans.current(span, self._context):
                yield span
            return
        context = self._unrecorded = self._unrecorded or _unrecorded(self._context)
        with execution_spans.attached(context):
            yield trace.get_current_span(context)

    def executed(self, results: Iterable[ItemResult], since: Nanoseconds) -> None:
        """Make the spans of items that took one step of work each, which began at the time `since`."""
        for result in results:
            index = result.item_index
            if index < MAX_ITEM_SPANS and (span := self._start(index, since)) is not None:
                ended(span, result)
                span.end(max(since, result.completed_at or 0))

    def _start(self, index: int, since: Nanoseconds | None = None) -> Span | None:
        if tracing.tracer is None:
            return None
        attributes: SpanAttributes = {RUN_ID: self._run_id, ITEM_INDEX: index}
        return tracing.tracer.start_span("item", self._context, attributes=attributes, start_time=since)


def ended(span: Span, result: ItemResult) -> None:
    """Note how an item has ended."""
    if result.error is not None:
        execution_spans.failed_with(span, result.error.code)


def _kept_context(kept: JsonText | None) -> Context | None:
    """The context that `with_context` has kept; None if there is none. A caller may have written anything there."""
    if kept is None:
        return None
    try:
        given = observability_from_json(kept)
    except GatewayError:
        return None
    try:
        carried = msgspec.json.decode(given.extensions.get(_CARRIED, "{}"), type=dict[str, str])
    except msgspec.DecodeError:
        carried = {}
    return tracing.extracted(carried) or tracing.of_ids(given.trace_id, given.span_id)


def _unrecorded(context: Context) -> Context:
    """The same trace, as one that is not sampled."""
    found = trace.get_current_span(context).get_span_context()
    trace_id, span_id = found.trace_id or secrets.randbits(128), found.span_id or secrets.randbits(64)
    unsampled = SpanContext(trace_id, span_id, is_remote=True, trace_state=found.trace_state)
    return trace.set_span_in_context(NonRecordingSpan(unsampled), context)
