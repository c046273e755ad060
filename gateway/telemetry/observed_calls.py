"""A call as it is observed, from its start to its end: what is counted, its span, and its line in the log.

One object knows all three of a method, and every front uses it: they cannot disagree.
"""

import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from gateway.telemetry import semconv, tracing
from gateway.telemetry.call_log import CALL_LOG, MOST_CHARACTERS
from gateway.telemetry.call_metrics import CallCells
from gateway.telemetry.semconv import RPC_NAMES, SERVER_ERRORS, RpcSystem, SpanAttributes

_clock = time.perf_counter

_HEXADECIMAL: Final = frozenset("0123456789abcdef")


class CallSource(Protocol):
    """Who calls, and from where."""

    @property
    def identity(self) -> str:
        """The name of the caller, or ""."""

    @property
    def peer(self) -> str:
        """The address of the client, or ""."""


class ObservedMethod:
    """A method: `name` is that of its spans, and `SERVICE/METHOD` over gRPC.

    `joins`: its parameters may name the trace that the call belongs to. One that is not `told` counts for nobody, and
    has neither spans nor lines: its calls come from another process of this gateway, where they have been observed.
    """

    __slots__ = ("attributes", "cells", "joins", "name", "streams", "system", "told")

    def __init__(
        self, system: RpcSystem, name: str, cells: CallCells | None = None, *, joins: bool = False, told: bool = True
    ) -> None:
        self.system: RpcSystem = system
        self.name = name
        self.cells = cells or CallCells()
        self.streams = self.cells.open is not None
        self.attributes: SpanAttributes = RPC_NAMES.of_method(system, name)
        self.joins = joins
        self.told = told

    def refuse(self, code: str, status: str, source: CallSource | None = None, answer: int = 0) -> None:
        """A call has been refused before anything was done for it, by an answer of so many bytes."""
        call = ObservedCall(self)
        if tracing.tracer is not None:
            call.trace(None)
        if answer:
            call.sent(answer)
        call.end(code, status, source)


class ObservedCall:
    """A call that has begun, and that `end` ends, once."""

    # Not slots: a call that has none of these costs nothing for them.
    bytes_in = 0
    bytes_out = 0
    run_id = ""
    """The run that the call is about, if it is known. It is one that the gateway has made, or could have."""
    trace_id: str | None = None
    """The trace that the call says it belongs to, where no span tells."""
    source: CallSource | None = None
    code = status = ""
    """What the call is about to end with."""
    attributes: SpanAttributes | None = None
    """What its span has besides that of its method."""
    span: Span | None = None
    _token: Any = None
    _begun_at: int | None = None
    """When the span of the call began, in nanoseconds since the epoch, while its parent is not known."""
    _otherwise: Context | None = None
    _answers = False

    def __init__(self, method: ObservedMethod) -> None:
        self.method = method
        cells = method.cells
        cells.started.value += 1
        if cells.open is not None:
            cells.open.value += 1
        self._began = _clock()

    def received(self, size: int = 0) -> None:
        """A message of the call has come."""
        self.method.cells.received.value += 1
        self.bytes_in += size

    def sent(self, size: int = 0) -> None:
        """A message of the answer is sent."""
        self.method.cells.sent.value += 1
        self.bytes_out += size
        if self.span is not None and self.method.streams and not self._answers:
            self._answers = True
            self.span.add_event(semconv.FIRST_MESSAGE)

    def resumes(self) -> None:
        """The stream goes on from where an earlier one was."""
        if self.span is not None:
            self.span.add_event(semconv.RESUME)

    def trace(self, carrier: Mapping[str, str] | None, otherwise: Context | None = None) -> None:
        """Begin the span, while tracing is on. Its parent is what the carrier names, if it names one.

        Otherwise it is what the parameters name (`join`), or the span of the context `otherwise`.
        """
        parent = tracing.extracted(carrier) if carrier else None
        if not self.method.told:
            if parent is not None:
                self._token = contexts.attach(parent)
        elif parent is None and self.method.joins:
            self._begun_at = time.time_ns()
            self._otherwise = otherwise
        else:
            self._begin_span(parent or otherwise)

    def join(self, trace_id: str | None, span_id: str | None) -> tuple[str, str] | None:
        """The parameters are known, and may name a span. Return the ids of the trace and of the span of the call."""
        if self._begun_at is not None:
            # A component names the span that it executes in, and not whether that is sampled.
            is_known = self._otherwise is not None and tracing.ids(self._otherwise) == (trace_id, span_id)
            self._begin_span((None if is_known else tracing.of_ids(trace_id, span_id)) or self._otherwise)
        return None if self.span is None else tracing.ids(trace.set_span_in_context(self.span))

    def end(self, code: str, status: str, source: CallSource | None = None) -> None:
        """The call has ended. `status` is the name of the status of gRPC that `code` stands for."""
        method = self.method
        cells = method.cells
        now = _clock()
        cells.handled[code].value += 1
        cells.seconds.observe(now - self._began)
        if cells.open is not None:
            cells.open.value -= 1
        if self._begun_at is not None:
            self._begin_span(self._otherwise)
        if method.told and CALL_LOG.takes(now, status):
            self._write(code, status, now - self._began, source or self.source)
        if self.span is not None:
            self._end_span(self.span, code, status)
        if self._token is not None:
            contexts.detach(self._token)

    def _begin_span(self, parent: Context | None) -> None:
        begun_at, self._begun_at = self._begun_at, None
        if tracing.tracer is None:
            return
        method = self.method
        parent = parent or Context()
        self.span = tracing.tracer.start_span(
            method.name, parent, SpanKind.SERVER, method.attributes, start_time=begun_at
        )
        self._token = contexts.attach(trace.set_span_in_context(self.span, parent))

    def _end_span(self, span: Span, code: str, status: str) -> None:
        if span.is_recording():
            # Together, since each time takes the lock of the span.
            attributes = RPC_NAMES.of_code(self.method.system, code if _is_code(code) else "")
            if self.attributes is not None:
                attributes.update(self.attributes)
            if self.run_id:
                attributes[semconv.RUN_ID] = self.run_id
            span.set_attributes(attributes)
            if self.method.streams:
                span.add_event(semconv.END)
            if status in SERVER_ERRORS:
                tracing.failed(span, code)
        span.end()

    def _write(self, code: str, status: str, seconds: float, source: CallSource | None) -> None:
        fields: dict[str, Any] = {
            "method": self.method.name,
            "code": code or status,
            "seconds": round(seconds, 6),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }
        if source is not None:
            fields["identity"] = source.identity[:MOST_CHARACTERS]
            fields["peer"] = source.peer[:MOST_CHARACTERS]
        if self.run_id:
            fields["run_id"] = self.run_id
        if (trace_id := self._trace_id()) is not None:
            fields["trace_id"] = trace_id
        CALL_LOG.write(fields)

    def _trace_id(self) -> str | None:
        if self.span is not None:
            return trace.format_trace_id(self.span.get_span_context().trace_id)
        told = self.trace_id
        return told if told is not None and len(told) == 32 and _HEXADECIMAL.issuperset(told) else None


def _is_code(code: str) -> bool:
    return code in semconv.GRPC_CODES or code.lstrip("-").isdigit()


UNTOLD: Final = ObservedMethod("grpc", semconv.OTHER_METHOD, told=False)
"""The method of calls that nobody observes."""

NOBODY: Final = ObservedCall(UNTOLD)
"""A call that nobody observes."""
