"""How calls fail, as gRPC tells it, becomes the errors of the gateway."""

import grpc
import pytest

from gateway.adapter.grpc_status import to_status
from gateway.client.failure import failure
from gateway.core.errors import (
    GatewayError,
    Internal,
    MethodNotFound,
    Overloaded,
    PermissionDenied,
    RemoteError,
    RunNotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)


@pytest.mark.parametrize("error", [RunNotFound("none"), Internal("id 7"), Unavailable("soon", retry_after=1.0)])
def test_what_the_gateway_sent_arrives(error: GatewayError) -> None:
    received = failure("host:1", *to_status(error))
    assert isinstance(received, GatewayError)
    assert (type(received), received.message, received.retry_after) == (type(error), error.message, error.retry_after)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", Unavailable),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", Unavailable),
        (grpc.StatusCode.UNKNOWN, "Stream removed", Unavailable),
        (grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8", Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", TimeoutError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (2 vs. 1)", TooLarge),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Bandwidth exhausted", Overloaded),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", MethodNotFound),
        (grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied", PermissionDenied),
        (grpc.StatusCode.UNAUTHENTICATED, "Jwt is missing", Unauthenticated),
        (grpc.StatusCode.UNKNOWN, "Received http2 header with status: 413", TooLarge),
        (grpc.StatusCode.UNKNOWN, "Payload Too Large", TooLarge),
        (grpc.StatusCode.UNAVAILABLE, "Received http2 header with status: 429", Overloaded),
        (grpc.StatusCode.DATA_LOSS, "odd", RemoteError),
    ],
)
def test_what_grpc_or_a_proxy_says_becomes_the_nearest_error(
    code: grpc.StatusCode, message: str, kind: type[Exception]
) -> None:
    assert type(failure("host:1", code, message, None)) is kind


def test_an_unreachable_gateway_is_named() -> None:
    assert str(failure("host:1", grpc.StatusCode.UNAVAILABLE, None, None)) == (
        "cannot reach the gateway at host:1: UNAVAILABLE"
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "errors resolving host:1: [field:hostname lookup error:address lookup failed for host:1: Domain name not "
            "found]",
            "the name of the host cannot be resolved: Domain name not found",
        ),
        (
            "DNS resolution failed for host:1: UNKNOWN: Temporary failure in name resolution",
            "the name of the host cannot be resolved: Temporary failure in name resolution",
        ),
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote "
            "host: Connection refused",
            "Connection refused",
        ),
        (
            "failed to connect to all addresses; last error: FAILED_PRECONDITION: unix:/a.sock: connect failed: addr: "
            "unix:/a.sock error: No such file or directory",
            "No such file or directory",
        ),
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: connection attempt timed out "
            "before receiving SETTINGS frame",
            "the peer takes connections, and does not answer",
        ),
        ("Socket closed", "Socket closed"),
    ],
)
def test_why_a_connection_has_failed_is_said_in_few_words(message: str, reason: str) -> None:
    error = failure("host:1", grpc.StatusCode.UNAVAILABLE, message, None)
    assert str(error) == f"cannot reach the gateway at host:1: {reason}"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Failed parsing HTTP/2: Expected SETTINGS frame as the first frame", "the peer does not speak gRPC"),
        ("Stream removed (Data frame with END_STREAM flag received)", "something before the gateway has answered"),
    ],
)
def test_an_answer_that_is_not_of_grpc_is_named(message: str, reason: str) -> None:
    error = failure("host:1", grpc.StatusCode.UNKNOWN, message, None)
    assert f"cannot reach the gateway at host:1: {reason}" in str(error)
