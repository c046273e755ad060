"""Requests over HTTP as they are observed: counted by path and status; those of the blob API have lines and spans."""

import time
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from gateway.fronts.http.entrance import BLOBS_PATH, CAPABILITY_PATH
from gateway.fronts.http.request import HttpRequest
from gateway.telemetry import tracing
from gateway.telemetry.call_log import CALL_LOG, MOST_CHARACTERS
from gateway.telemetry.call_metrics import HTTP_REQUESTS
from gateway.telemetry.metrics import OTHER
from gateway.telemetry.propagation import carried_fields

LEFT: Final = 499
"""The status of a request whose client left before it was answered, as nginx writes it."""

_PATHS: Final = frozenset({"/", BLOBS_PATH, "/health", "/livez", "/readyz", "/startupz", "/ui"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
_FAILED: Final = 500


class ObservedRequest:
    """A request of the blob API: it has a line in the log, and a span, which is current until it ends."""

    __slots__ = ("_began", "_name", "_span", "_token")

    def __init__(self, request: HttpRequest, route: str) -> None:
        method = request.method if request.method in _METHODS else "_OTHER"
        self._name = f"{'HTTP' if method == '_OTHER' else method} {route}"
        self._began = time.perf_counter()
        self._span: Span | None = None
        self._token: Any = None
        if tracing.tracer is not None:
            headers = request.headers
            carrier = {field: ",".join(headers.getall(field)) for field in carried_fields() if field in headers}
            parent = tracing.extracted(carrier) or Context()
            attributes = {"http.request.method": method, "http.route": route}
            self._span = tracing.tracer.start_span(self._name, parent, SpanKind.SERVER, attributes)
            self._token = contexts.attach(trace.set_span_in_context(self._span, parent))

    def end(self, status: int, request: HttpRequest) -> None:
        """The request has been answered."""
        now = time.perf_counter()
        if CALL_LOG.takes(now, "INTERNAL" if status >= _FAILED else "OK"):
            fields = {"method": self._name, "code": str(status), "seconds": round(now - self._began, 6)}
            CALL_LOG.write({**fields, "identity": request.identity[:MOST_CHARACTERS], "peer": request.peer})
        if self._span is None:
            return
        contexts.detach(self._token)
        self._span.set_attribute("http.response.status_code", status)
        if status >= _FAILED:
            tracing.failed(self._span, str(status))
        self._span.end()


def begin_request(request: HttpRequest) -> ObservedRequest | None:
    """What observes a request of the blob API; None for others."""
    path = request.path
    if path == "/":
        return None
    if path.startswith(CAPABILITY_PATH):
        path = f"/{path.removeprefix(CAPABILITY_PATH).partition('/')[2]}"
    if path == BLOBS_PATH:
        return ObservedRequest(request, BLOBS_PATH)
    return ObservedRequest(request, f"{BLOBS_PATH}/{{blobId}}") if path.startswith(f"{BLOBS_PATH}/") else None


def end_request(request: HttpRequest, observed: ObservedRequest | None) -> None:
    """A request has been answered, or its client has left."""
    status = request.status or LEFT
    HTTP_REQUESTS.labels(request.route or _place(request.path), str(status)).value += 1
    if observed is not None:
        observed.end(status, request)


def _place(path: str) -> str:
    """The path by which a request counts: clients may ask for any."""
    if path in _PATHS:
        return path
    for below in (BLOBS_PATH, "/ui"):
        if path.startswith(f"{below}/"):
            return below
    return OTHER
