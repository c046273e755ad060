"""The spans of the calls of a client, for an application that has set up OpenTelemetry. Without one, nothing is made.

A call has one span, whatever the number of attempts, and a stream one, whatever the number of its connections. It is
a child of the span that is current when the call begins.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token
from types import TracebackType
from typing import Final, Self

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from gateway.core.errors import GatewayError
from gateway.telemetry import tracing
from gateway.telemetry.semconv import END, FIRST_MESSAGE, RESUME, RPC_NAMES, SpanAttributes, server_attributes

_TRACER: Final = trace.get_tracer(tracing.SCOPE)
"""That of the application, once it has one."""

_RETRY: Final = "retry"
"""The event of a call that is made again."""


class CallSpans:
    """Makes the spans of the calls on a gateway at an address."""

    def __init__(self, address: str) -> None:
        self._server = server_attributes(address)
        self._attributes: dict[str, SpanAttributes] = {}

    def call(self, method: str) -> "CallSpan":
        """The span of a call with one answer, `SERVICE/METHOD`, for a block in which it is current."""
        return self._span(method, is_current=True)

    def stream(self, method: str) -> "CallSpan":
        """The span of a stream, for a block. It is not current there: iterators share the context of their users."""
        return self._span(method, is_current=False)

    def _span(self, method: str, *, is_current: bool) -> "CallSpan":
        attributes = self._attributes.get(method)
        if attributes is None:
            attributes = self._attributes[method] = {**RPC_NAMES.of_method("grpc", method), **self._server}
        span = _TRACER.start_span(method, None, SpanKind.CLIENT, attributes)
        return _NO_SPAN if span is trace.INVALID_SPAN else CallSpan(span, is_current=is_current)


class CallSpan:
    """The span of a call, which ends with a block, and tells how that has ended."""

    __slots__ = ("_answered", "_context", "_is_current", "_span", "_token")

    def __init__(self, span: Span, *, is_current: bool) -> None:
        self._span = span
        self._context = trace.set_span_in_context(span)
        self._is_current = is_current
        self._token: Token[Context] | None = None
        self._answered = False

    def __enter__(self) -> Self:
        if self._is_current:
            self._token = contexts.attach(self._context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._token is not None:
            contexts.detach(self._token)
        if error is None or isinstance(error, GeneratorExit):
            # Whoever has left a stream early, which is no error, has not waited for its status.
            self._end("OK" if error is None else "")
        elif isinstance(error, GatewayError):
            self._end(error.grpc_status)
        else:
            self._end("DEADLINE_EXCEEDED" if isinstance(error, TimeoutError) else "CANCELLED")

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let the span be the current one in the block."""
        token = contexts.attach(self._context)
        try:
            yield
        finally:
            contexts.detach(token)

    def received(self) -> None:
        """Note a message of a stream."""
        if not self._answered:
            self._answered = True
            self._span.add_event(FIRST_MESSAGE)

    def again(self) -> None:
        """Note that the call is made again, or that the stream goes on with another connection."""
        self._span.add_event(RESUME if self._answered else _RETRY)

    def _end(self, code: str) -> None:
        """End it with a status of gRPC; "" if there is none."""
        if self._answered and code == "OK":
            self._span.add_event(END)
        self._span.set_attributes(RPC_NAMES.of_code("grpc", code))
        if code not in ("", "OK"):
            tracing.failed(self._span, code)
        self._span.end()


class _NoSpan(CallSpan):
    """For a call that is part of no trace. There is one for all."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(trace.INVALID_SPAN, is_current=False)

    def __exit__(self, *_: object) -> None:
        pass

    @contextmanager
    def current(self) -> Iterator[None]:
        yield

    def received(self) -> None:
        pass

    def again(self) -> None:
        pass


_NO_SPAN: Final = _NoSpan()
