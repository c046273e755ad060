"""A channel for asyncio whose calls are spans."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from grpc import aio
from opentelemetry.trace import Span, SpanKind

from gateway.peers.grpc.wrapped_channel import WrappedChannel
from gateway.telemetry import tracing
from gateway.telemetry.semconv import FIRST_MESSAGE, RPC_NAMES, SpanAttributes


class TracedChannel(WrappedChannel):
    """A channel that makes a span of each call that is part of a trace, and sends the trace along with it.

    What belongs to no trace, as what is done for many callers, has no span. With `passes_on`, no call has one, and the
    span that is current is sent along: the other end is a part of this gateway. `attributes` are those of all spans.
    """

    def __init__(self, channel: Any, attributes: SpanAttributes, *, passes_on: bool = False) -> None:
        super().__init__(channel)
        self._attributes = attributes
        self._passes_on = passes_on

    def wrapped(self, path: str, method: Any) -> Callable[..., Any]:
        name, passes_on = path.removeprefix("/"), self._passes_on
        attributes = {**RPC_NAMES.of_method("grpc", name), **self._attributes}

        def call(*arguments: Any, **named: Any) -> Any:
            if tracing.tracer is None or tracing.ids() is None:
                return method(*arguments, **named)
            span = None if passes_on else tracing.start(name, SpanKind.CLIENT, attributes=attributes)
            carried = tracing.injected(tracing.in_span(span))
            metadata = (*(named.pop("metadata", None) or ()), *((key.lower(), carried[key]) for key in carried))
            made = method(*arguments, metadata=metadata, **named)
            return made if span is None else TracedCall(made, span)

        return call


class TracedCall:
    """A call that ends its span: with its answer, with the end of its stream, or when it is cancelled.

    It is no callback of the call: such a one and the call would hold each other for good.
    """

    __slots__ = ("_answered", "_call", "_span")

    def __init__(self, call: Any, span: Span) -> None:
        self._call = call
        self._span: Span | None = span
        self._answered = False

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def read(self) -> Any:
        """As that of the call."""
        with self._failing():
            message = await self._call.read()
        if message is aio.EOF:
            self._end("OK")
        elif not self._answered and self._span is not None:
            self._answered = True
            self._span.add_event(FIRST_MESSAGE)
        return message

    def cancel(self) -> bool:
        """As that of the call. One that has given answers need not go to its end."""
        self._end("" if self._answered else "CANCELLED")
        return bool(self._call.cancel())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def _answer(self) -> Any:
        with self._failing():
            answer = await self._call
        self._end("OK")
        return answer

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except aio.AioRpcError as error:
            self._end(error.code().name)
            raise
        except asyncio.CancelledError:
            self._end("CANCELLED")
            raise

    def _end(self, code: str) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        span.set_attributes(RPC_NAMES.of_code("grpc", code))
        if code not in ("", "OK", "CANCELLED"):
            tracing.failed(span, code)
        span.end()
