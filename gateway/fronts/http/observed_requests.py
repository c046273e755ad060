"""Requests over HTTP as they are observed: counted by path and status, with spans of those of the blob API."""

from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from gateway.fronts.http.entrance import BLOBS_PATH
from gateway.fronts.http.request import HttpRequest
from gateway.telemetry import tracing
from gateway.telemetry.call_metrics import HTTP_REQUESTS
from gateway.telemetry.metrics import OTHER
from gateway.telemetry.propagation import carried_fields

LEFT: Final = 499
"""The status of a request whose client left before it was answered, as nginx writes it."""

_PATHS: Final = frozenset({"/", BLOBS_PATH, "/health", "/livez", "/readyz", "/startupz", "/ui"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
_FAILED: Final = 500


class RequestSpan:
    """The span of a request, which is current until it ends."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span, parent: Context) -> None:
        self._span = span
        self._token: Any = contexts.attach(trace.set_span_in_context(span, parent))

    def end(self, status: int) -> None:
        """The request has been answered."""
        contexts.detach(self._token)
        self._span.set_attribute("http.response.status_code", status)
        if status >= _FAILED:
            tracing.failed(self._span, str(status))
        self._span.end()


def begin_request(request: HttpRequest) -> RequestSpan | None:
    """The span of a request of the blob API; None of others, and while tracing is off."""
    if tracing.tracer is None or not request.path.startswith(BLOBS_PATH):
        return None
    fields = carried_fields()
    carrier = {field: ",".join(request.headers.getall(field)) for field in fields if field in request.headers}
    parent = tracing.extracted(carrier) or Context()
    route = BLOBS_PATH if request.path == BLOBS_PATH else f"{BLOBS_PATH}/{{blobId}}"
    method = request.method if request.method in _METHODS else "_OTHER"
    attributes = {"http.request.method": method, "http.route": route}
    name = f"{'HTTP' if method == '_OTHER' else method} {route}"
    return RequestSpan(tracing.tracer.start_span(name, parent, SpanKind.SERVER, attributes), parent)


def end_request(request: HttpRequest, span: RequestSpan | None) -> None:
    """A request has been answered, or its client has left."""
    status = request.status or LEFT
    HTTP_REQUESTS.labels(_place(request.path), str(status)).value += 1
    if span is not None:
        span.end(status)


def _place(path: str) -> str:
    """The path by which a request counts: clients may ask for any."""
    if path in _PATHS:
        return path
    for below in (BLOBS_PATH, "/ui"):
        if path.startswith(f"{below}/"):
            return below
    return OTHER
