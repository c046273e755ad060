"""What the errors of the engine become. The texts are those of server 1.32, in integration tests they come from it."""

import pytest
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, NotFoundFailure
from temporalio.service import RPCError, RPCStatusCode

from gateway.core.errors import (
    GatewayError,
    NotFound,
    Overloaded,
    PermissionDenied,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from gateway.runtimes.temporal.engine_errors import (
    EngineAbsent,
    EngineUnprepared,
    NoSuchWorkflow,
    connect_error,
    engine_error,
)


def rpc_error(status: RPCStatusCode, message: str = "", *details: object) -> RPCError:
    made = GrpcStatus(code=int(status), message=message)
    for detail in details:
        made.details.add().Pack(detail)  # type: ignore[arg-type]
    return RPCError(message, status, made.SerializeToString())


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (RPCStatusCode.UNAVAILABLE, "tcp connect error", EngineAbsent),
        (RPCStatusCode.DEADLINE_EXCEEDED, "context deadline exceeded", EngineAbsent),
        (RPCStatusCode.CANCELLED, "Timeout expired", EngineAbsent),
        (RPCStatusCode.UNKNOWN, "h2 protocol error", EngineAbsent),
        (RPCStatusCode.INTERNAL, "stream no longer needed", EngineAbsent),
        (RPCStatusCode.NOT_FOUND, "workflow not found for ID: zzz", NoSuchWorkflow),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "namespace rate limit exceeded", Overloaded),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)", TooLarge),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "received message after decompression larger than max 4194304", TooLarge),
        (RPCStatusCode.INVALID_ARGUMENT, "Blob data size exceeds limit.", TooLarge),
        (RPCStatusCode.INVALID_ARGUMENT, "search attribute RunsState value size 3002 exceeds size limit 2", TooLarge),
        (RPCStatusCode.INVALID_ARGUMENT, "Namespace a has no mapping defined for search attribute b", EngineUnprepared),
        (RPCStatusCode.INVALID_ARGUMENT, "invalid query: invalid search attribute: RunsState", EngineUnprepared),
        (RPCStatusCode.INVALID_ARGUMENT, "invalid value type for search attribute RunsState", EngineUnprepared),
        (RPCStatusCode.PERMISSION_DENIED, "Request unauthorized.", PermissionDenied),
        (RPCStatusCode.UNAUTHENTICATED, "", Unauthenticated),
    ],
)
def test_each_status_has_its_meaning(status: RPCStatusCode, message: str, kind: type[GatewayError]) -> None:
    error = engine_error(rpc_error(status, message))
    assert type(error) is kind
    assert error is not None
    if isinstance(error, Unavailable | Overloaded):
        assert error.retry_after == 1.0


def test_a_namespace_that_is_missing_is_told_from_a_run_that_is() -> None:
    missing = rpc_error(RPCStatusCode.NOT_FOUND, "Namespace a is not found.", NamespaceNotFoundFailure(namespace="a"))
    error = engine_error(missing)
    assert isinstance(error, EngineUnprepared)
    assert (error.message, error.what) == ("the engine is not prepared for runs", "the namespace does not exist")
    gone = engine_error(rpc_error(RPCStatusCode.NOT_FOUND, "workflow not found", NotFoundFailure()))
    assert isinstance(gone, NotFound)


@pytest.mark.parametrize("status", [RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION])
def test_an_error_that_is_a_defect_of_this_gateway_is_not_told_as_one_of_the_engine(status: RPCStatusCode) -> None:
    assert engine_error(rpc_error(status, "workflow task is malformed")) is None


def test_operators_are_told_in_one_short_line_what_clients_are_not() -> None:
    error = engine_error(rpc_error(RPCStatusCode.UNAVAILABLE, "secret\nhost " * 1_000))
    assert isinstance(error, EngineAbsent)
    assert "secret" not in error.message
    assert error.what.startswith("the engine cannot be reached: secret host secret")
    assert len(error.what) < 300
    assert "\n" not in error.what


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Failed client connect: Server connection error: ConnectError(Os { code: 111 })", EngineAbsent),
        ("Failed client connect: call error after connection: Status { code: Unauthenticated }", Unauthenticated),
        ("Failed client connect: call error after connection: Status { code: PermissionDenied }", PermissionDenied),
    ],
)
def test_why_the_sdk_could_not_connect_is_read_from_its_text(text: str, kind: type[GatewayError]) -> None:
    assert type(connect_error(RuntimeError(text))) is kind
