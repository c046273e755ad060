"""Answers of proxies in the place of a gRPC server."""

import grpc
import pytest

from gateway.core.errors import (
    GatewayError,
    Overloaded,
    PermissionDenied,
    RemoteError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from gateway.peers.grpc.proxy_answers import proxy_error


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, RemoteError, "HTTP 400 (Bad Request)"),
        (401, Unauthenticated, "HTTP 401 (Unauthorized)"),
        (403, PermissionDenied, "HTTP 403 (Forbidden)"),
        (404, RemoteError, "HTTP 404 (Not Found)"),
        (408, Unavailable, "HTTP 408 (Request Timeout)"),
        (413, TooLarge, "HTTP 413 (Content Too Large)"),
        (429, Overloaded, "HTTP 429 (Too Many Requests)"),
        (500, Unavailable, "HTTP 500 (Internal Server Error)"),
        (502, Unavailable, "HTTP 502 (Bad Gateway)"),
        (503, Unavailable, "HTTP 503 (Service Unavailable)"),
        (504, Unavailable, "HTTP 504 (Gateway Timeout)"),
        (599, Unavailable, "HTTP 599"),
    ],
)
def test_a_status_of_http_is_named(status: int, kind: type[GatewayError], name: str) -> None:
    error = proxy_error(grpc.StatusCode.UNKNOWN, f"Received http2 header with status: {status}", "the gateway")
    assert type(error) is kind
    assert error.message.startswith(f"a proxy before the gateway has answered with {name}")


def test_the_message_of_a_proxy_that_speaks_grpc() -> None:
    error = proxy_error(grpc.StatusCode.UNKNOWN, "Payload Too Large", "the gateway")
    assert isinstance(error, TooLarge)


@pytest.mark.parametrize("message", ["", "Socket closed", "status: 413"])
def test_everything_else_is_of_no_proxy(message: str) -> None:
    assert proxy_error(grpc.StatusCode.UNAVAILABLE, message, "the gateway") is None
