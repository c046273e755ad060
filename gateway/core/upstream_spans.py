"""The spans of requests to servers elsewhere, and the headers by which a trace goes on there."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType, TracebackType
from typing import Final, Self

from opentelemetry.trace import Span, SpanKind

from gateway.core.errors import GatewayError, Unavailable
from gateway.telemetry import tracing
from gateway.telemetry.semconv import RPC_NAMES, SpanAttributes, server_attributes

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_ID: Final = re.compile(r"/[0-9a-f-]{32,}(?=/|$)")
"""A part of a path that is the id of something."""


class UpstreamSpans:
    """Makes the spans of requests to a server at an address. They are children of the current span, if there is one.

    What belongs to no trace, as what is done for many callers, has no span and no headers. No span is ever the current
    one: requests are made inside of iterators, which share the context of their users.
    """

    def __init__(self, address: str) -> None:
        self._server = server_attributes(address)

    def jsonrpc(self, method: str) -> "UpstreamSpan":
        """The span of a method of JSON-RPC, for a block. Errors are those that leave the block."""
        if tracing.tracer is None or tracing.ids() is None:
            return _NO_SPAN
        return self._span(method, RPC_NAMES.of_method("jsonrpc", method), is_rpc=True)

    def http(self, method: str, path: str) -> "UpstreamSpan":
        """The span of a request of HTTP, likewise. Ids in its path, and the query, are left out."""
        if tracing.tracer is None or tracing.ids() is None:
            return _NO_SPAN
        template = _ID.sub("/{id}", path.partition("?")[0])
        return self._span(f"{method} {template}", {"http.request.method": method, "url.template": template})

    def _span(self, name: str, attributes: SpanAttributes, *, is_rpc: bool = False) -> "UpstreamSpan":
        span = tracing.start(name, SpanKind.CLIENT, attributes={**attributes, **self._server})
        return UpstreamSpan(span, is_rpc=is_rpc)


class UpstreamSpan:
    """The span of a request; without one, it does nothing."""

    __slots__ = ("_is_rpc", "_span", "headers")

    def __init__(self, span: Span | None, *, is_rpc: bool = False) -> None:
        self._span = span
        self._is_rpc = is_rpc
        self.headers: Mapping[str, str] = _NO_HEADERS if span is None else tracing.injected(tracing.in_span(span))
        """What the request carries."""

    def answered(self, status: int) -> None:
        """Note the status of an answer of HTTP."""
        if self._span is not None:
            self._span.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.BAD_REQUEST:
                tracing.failed(self._span, str(status))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if self._span is None:
            return
        if isinstance(error, GatewayError):
            kind = type(error).__name__
            # Unavailable is what this gateway says of an upstream that is silent.
            if self._is_rpc and not isinstance(error, Unavailable):
                kind = str(error.jsonrpc_code)
                self._span.set_attributes(RPC_NAMES.of_code("jsonrpc", kind))
            tracing.failed(self._span, kind)
        self._span.end()


_NO_SPAN: Final = UpstreamSpan(None)
