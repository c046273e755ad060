"""Responses, and the errors that only the HTTP front raises."""

import math
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec

from gateway.adapter import jsonrpc
from gateway.core.errors import (
    GatewayError,
    InvalidRequest,
    MethodNotFound,
    PermissionDenied,
    QuotaExceeded,
    Unauthenticated,
)
from gateway.core.refusals import count_refusal
from gateway.fronts.http.request import HttpRequest
from gateway.telemetry.call_metrics import HTTP_REQUESTS
from gateway.telemetry.metrics import OTHER

RPC_PATH = "/"

JSON = "application/json"
BINARY = "application/octet-stream"

CODINGS = "gzip, zstd"
"""How bodies may be encoded."""

SERVER = "runs-gateway"

# No browser takes an answer for something else than it is declared to be.
JSON_HEADERS = {"Content-Type": JSON, "X-Content-Type-Options": "nosniff", "Server": SERVER}
BINARY_HEADERS = {**JSON_HEADERS, "Content-Type": BINARY}


class PathNotFound(MethodNotFound):
    """Nothing is served at this path."""

    reason = "PATH_NOT_FOUND"


class MethodNotAllowed(MethodNotFound):
    """The path is served, but not by this HTTP method."""

    http_status, reason = 405, "METHOD_NOT_ALLOWED"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"this path serves {allowed}")
        self.allowed = allowed


class UnsupportedMediaType(InvalidRequest):
    """The media type of the body is not accepted here."""

    http_status, reason = 415, "UNSUPPORTED_MEDIA_TYPE"


class UnsupportedContentCoding(UnsupportedMediaType):
    """The body is encoded in a way that is not accepted here."""

    reason = "UNSUPPORTED_CONTENT_CODING"


class ExpectationFailed(InvalidRequest):
    """The client expects something that no server here does."""

    http_status, reason = 417, "EXPECTATION_FAILED"


class RequestTimeout(InvalidRequest):
    """The client takes too long to send its request."""

    http_status, reason = 408, "REQUEST_TIMEOUT"


class HttpResponse:
    """A response that is written at once. `lines` are its headers, but for those that tell how it is written."""

    __slots__ = ("body", "lines", "status")

    def __init__(self, body: bytes, lines: bytes, status: int = 200) -> None:
        self.body = body
        self.lines = lines
        self.status = status


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Headers as they are written."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


JSON_LINES: Final = header_lines(JSON_HEADERS)
BINARY_LINES: Final = header_lines(BINARY_HEADERS)
EMPTY: Final = HttpResponse(b"", header_lines({"Server": SERVER}), 202)
"""There is nothing to say."""


def json_response(body: str | bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A response whose body is JSON."""
    content = body.encode() if isinstance(body, str) else body
    return HttpResponse(content, JSON_LINES + header_lines(headers) if headers else JSON_LINES, status)


def refusal(request: HttpRequest, error: GatewayError, *, status: int | None = None) -> HttpResponse:
    """An error answer in the form of the path: that of JSON-RPC, or that of the blob API."""
    count_refusal(error)
    is_rpc = request.path == RPC_PATH
    if isinstance(error, QuotaExceeded) and error.data is None and status is None:
        return _quota_refusal(error.message, error.quota, error.subject, error.retry_after, is_rpc=is_rpc)
    return _refusal(error, status or error.http_status, is_rpc=is_rpc)


@lru_cache(maxsize=1_024)
def _quota_refusal(message: str, quota: str, subject: str, retry_after: float | None, *, is_rpc: bool) -> HttpResponse:
    """A refusal has to cost far less than a call, and is often the same."""
    error = QuotaExceeded(message, quota=quota, subject=subject, retry_after=retry_after)
    return _refusal(error, error.http_status, is_rpc=is_rpc)


def _refusal(error: GatewayError, status: int, *, is_rpc: bool) -> HttpResponse:
    headers = _retry_headers(error)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    if isinstance(error, UnsupportedContentCoding):
        headers["Accept-Encoding"] = CODINGS
    if is_rpc:
        return json_response(jsonrpc.error_response(None, error), status, headers)
    body = {
        "code": status,
        "message": jsonrpc.error_message(error),
        "status": error.grpc_status,
        "data": msgspec.Raw((jsonrpc.error_data(error) or "null").encode()),
    }
    return json_response(msgspec.json.encode({"error": body}), status, headers)


def denial(request_id: str, error: GatewayError) -> HttpResponse:
    """An error answer to a call: its status tells whether the caller may not make it, or not now."""
    count_refusal(error)
    return call_response(jsonrpc.error_response(request_id, error), error)


def call_response(body: str | bytes, error: GatewayError) -> HttpResponse:
    """The answer to a call that has failed: its status tells whether the caller may not make it, or not now."""
    if not isinstance(error, PermissionDenied | QuotaExceeded):
        return json_response(body)
    return json_response(body, error.http_status, _retry_headers(error))


def _retry_headers(error: GatewayError) -> dict[str, str]:
    """When a client may try again, in whole seconds."""
    return {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}


def raw_refusal(error: GatewayError, response: HttpResponse | None = None, more: bytes = b"") -> bytes:
    """An error answer to what is no request yet, by default in the form of JSON-RPC. The connection is to be closed.

    `more` are further headers, as they are written.
    """
    if response is None:
        count_refusal(error)
        response = json_response(jsonrpc.error_response(None, error), error.http_status)
    status = HTTPStatus(response.status)
    HTTP_REQUESTS.inc(OTHER, str(status.value))
    ends = header_lines({"Content-Length": str(len(response.body)), "Connection": "close"})
    return f"HTTP/1.1 {status} {status.phrase}\r\n".encode() + response.lines + more + ends + b"\r\n" + response.body
