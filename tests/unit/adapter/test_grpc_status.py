import base64
import json
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapter.grpc_status import MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES, MAX_TRAILERS_BYTES, from_status, to_status
from gateway.adapter.jsonrpc import error_response, parse_response
from gateway.core import errors
from gateway.core.errors import GatewayError, InvalidParams, RemoteError, Violation
from tests.support import messages

short_texts = st.text("abc ~", max_size=40) | st.text(max_size=9)
"""Three of them fit into a message, however gRPC encodes them."""
violations = st.builds(
    Violation,
    st.sampled_from([("flow_id",), ("inputs", 3, "json"), ("timeout",), ("variables", "flow_id"), ()]),
    short_texts,
)
plain_kinds = st.sampled_from(
    [
        errors.ParseError,
        errors.InvalidRequest,
        errors.MethodNotFound,
        errors.NotFound,
        errors.FlowNotFound,
        errors.BlobNotFound,
        errors.RunNotFound,
        errors.IdempotencyConflict,
        errors.TooLarge,
        errors.Overloaded,
        errors.Unavailable,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.Internal,
    ]
)
parameter_kinds = st.sampled_from([errors.InvalidParams, errors.InvalidFlow, errors.InvalidRunId, errors.InvalidBlobId])


@st.composite
def any_error(draw: st.DrawFn) -> GatewayError:
    data = draw(st.none() | messages.json_texts.filter(lambda text: len(text.encode()) < 200))
    error: GatewayError
    match draw(st.sampled_from(["plain", "parameters", "quota", "remote"])):
        case "plain":
            error = draw(plain_kinds)(draw(st.text(min_size=1, max_size=60)), data=data)
        case "parameters":
            error = draw(parameter_kinds)(draw(st.lists(violations, min_size=1, max_size=3)), data=data)
        case "quota":
            names = [draw(st.text(max_size=40)) for _ in range(3)]
            error = errors.QuotaExceeded(names[0] or "x", quota=names[1], subject=names[2])
        case _:
            error = RemoteError(
                draw(st.integers(-(2**63), 2**63 - 1)), draw(st.text(min_size=1, max_size=60)), data=data
            )
    error.retry_after = draw(st.none() | st.integers(0, 10**6).map(lambda millis: millis / 1_000))
    return error


def json_of(error: GatewayError) -> object:
    return json.loads(error_response("1", error))


@settings(max_examples=3 * settings().max_examples)
@given(any_error())
def test_grpc_to_json_rpc_loses_nothing(error: GatewayError) -> None:
    received = from_status(*to_status(error))
    assert type(received) is type(error)
    assert (received.jsonrpc_code, received.data, received.retry_after) == (
        error.jsonrpc_code,
        error.data,
        error.retry_after,
    )
    if isinstance(error, InvalidParams):
        assert isinstance(received, InvalidParams)
        assert received.violations == error.violations
    assert error_response("1", received) == error_response("1", error)
    assert to_status(received) == to_status(error)


@settings(max_examples=3 * settings().max_examples)
@given(
    st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-32700, -32602, -32603, -32004, -32005, -32000, -32015]),
    st.text(min_size=1, max_size=60),
    st.none() | messages.json_texts.filter(lambda text: len(text.encode()) < 200),
)
def test_json_rpc_to_grpc_to_json_rpc_loses_nothing(code: int, message: str, data: str | None) -> None:
    end = "" if data is None else f',"data":{data}'
    body = f'{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":{json.dumps(message)}{end}}}}}'
    with pytest.raises(GatewayError) as caught:
        parse_response(body)
    answered = json.loads(error_response("1", from_status(*to_status(caught.value))))["error"]
    assert (answered["code"], answered["message"]) == (code, message)
    if data is not None:
        assert error_response("1", from_status(*to_status(caught.value))).endswith(f'"data":{data}}}}}')


def test_details() -> None:
    error = InvalidParams([Violation(("inputs", 3, "json"), "odd"), Violation(("max_concurrency",), "too low")])
    error.retry_after = 1.5
    code, message, details = to_status(error)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message == "inputs[3].json: odd; max_concurrency: too low"
    status = Status.FromString(details)
    assert (status.code, status.message) == (3, message)
    found: dict[Any, Any] = {}
    for detail in status.details:
        for known in (BadRequest(), RetryInfo(), ErrorInfo()):
            if detail.Unpack(known):
                found[type(known)] = known
    assert [(field.field, field.description) for field in found[BadRequest].field_violations] == [
        ("inputs[3].json", "odd"),
        ("max_concurrency", "too low"),
    ]
    assert found[RetryInfo].retry_delay.ToMilliseconds() == 1_500
    assert (found[ErrorInfo].reason, found[ErrorInfo].domain) == ("INVALID_PARAMS", "runs-gateway")
    assert dict(found[ErrorInfo].metadata) == {
        "jsonrpc.code": "-32602",
        "jsonrpc.message": "inputs[3].json: odd; maxConcurrency: too low",
    }


@pytest.mark.parametrize(
    "error",
    [
        RemoteError(-1, "é%\n" * 10_000, data='"' + "x" * 100_000 + '"'),
        RemoteError(-1, "x" * 10_000, data='"' + "é" * 2_400 + '"'),
        InvalidParams([Violation(("variables", "é" * 100_000), "x" * 100_000)] * 100, data='"' + "x" * 4_000 + '"'),
    ],
)
def test_everything_fits_into_headers(error: GatewayError) -> None:
    code, message, details = to_status(error)
    assert code.name == error.grpc_status
    encoded = sum(1 if 0x20 <= byte < 0x7F and byte != ord("%") else 3 for byte in message.encode())
    assert encoded <= MAX_MESSAGE_BYTES
    assert "..." in message
    assert len(details) <= MAX_DETAILS_BYTES
    assert trailers_bytes(error) <= MAX_TRAILERS_BYTES
    received = from_status(code, message, details)
    assert type(received) is type(error)
    assert received.data is None
    assert b"jsonrpc.data_truncated" in details


def test_data_of_half_a_kilobyte_fits() -> None:
    error = RemoteError(-32100, "failed", data='"' + "x" * 512 + '"')
    assert from_status(*to_status(error)).data == error.data


def test_a_hundred_violations_are_as_many_as_fit_and_their_number() -> None:
    error = InvalidParams([Violation(("inputs", index), "is not a number") for index in range(100)])
    code, message, details = to_status(error)
    received = from_status(code, message, details)
    assert isinstance(received, InvalidParams)
    kept = len(received.violations)
    assert received.violations == error.violations[:kept]
    assert 5 < kept < 20
    assert message.endswith(f"inputs[{kept - 1}]: is not a number; and {100 - kept} more violations")
    assert to_status(received) == (code, message, details), "a relay passes on what it was told"
    assert f"and {100 - kept} more violations" in error_response("1", received)


def test_violations_that_were_left_out_before_are_counted_as_well() -> None:
    error = InvalidParams([Violation(("inputs", index), "is not a number") for index in range(1_100)])
    _, message, details = to_status(error)
    received = from_status(grpc.StatusCode.INVALID_ARGUMENT, message, details)
    assert isinstance(received, InvalidParams)
    assert message.endswith(f"; and {1_100 - len(received.violations):,} more violations")
    unknown = InvalidParams(error.violations, rest=errors.MORE_VIOLATIONS)
    assert to_status(unknown)[1].endswith(" more violations; more were not looked for")


def test_one_long_violation_leaves_room_for_the_number_of_others() -> None:
    error = InvalidParams([Violation(("a",), "ü" * 500), Violation(("b",), "wrong")])
    assert to_status(error)[1].endswith("ü...; and 1 more violations")


@given(
    st.lists(st.builds(Violation, st.just(("a", 1)), st.text(max_size=600)), min_size=1, max_size=120), st.booleans()
)
def test_trailers_have_two_kilobytes_at_most(violations: list[Violation], pushed: bool) -> None:
    error = InvalidParams(violations)
    error.retry_after = 1e6 if pushed else None
    assert trailers_bytes(error) <= MAX_TRAILERS_BYTES
    other = RemoteError(-(2**63), violations[0].description * 10, data=messages_of(violations))
    other.retry_after = error.retry_after
    assert trailers_bytes(other) <= MAX_TRAILERS_BYTES
    name = violations[0].description * 10
    quota = errors.QuotaExceeded(name, quota="requests_per_second", subject=name, retry_after=error.retry_after)
    assert trailers_bytes(quota) <= MAX_TRAILERS_BYTES
    assert len(to_status(quota)[2]) <= MAX_DETAILS_BYTES


def test_a_limit_of_callers_is_named() -> None:
    error = errors.QuotaExceeded("too many", quota="max_calls", subject="identity:a", retry_after=1.5)
    code, message, details = to_status(error)
    assert (code, message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
    found: dict[Any, Any] = {}
    for detail in Status.FromString(details).details:
        for kind in (QuotaFailure, RetryInfo, ErrorInfo):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(found.setdefault(kind, kind()))
    (violation,) = found[QuotaFailure].violations
    assert (violation.subject, violation.description) == ("identity:a", "max_calls")
    assert found[RetryInfo].retry_delay.ToMilliseconds() == 1_500
    received = from_status(code, message, details)
    assert isinstance(received, errors.QuotaExceeded)
    assert (received.quota, received.subject) == ("max_calls", "identity:a")
    answered = json.loads(error_response("1", received))["error"]
    assert answered["code"] == -32014
    assert answered["data"] == {
        "reason": "QUOTA_EXCEEDED",
        "quota": "max_calls",
        "subject": "identity:a",
        "retryAfterSecs": 1.5,
    }


def messages_of(violations: list[Violation]) -> str:
    return json.dumps([violation.description for violation in violations])


def trailers_bytes(error: GatewayError) -> int:
    """The bytes of all trailers, with their names and 3 bytes around each."""
    code, message, details = to_status(error)
    encoded = sum(1 if 0x20 <= byte < 0x7F and byte != ord("%") else 3 for byte in message.encode())
    trailers = {
        "grpc-status": len(str(code.value[0])),
        "grpc-message": encoded,
        "grpc-status-details-bin": len(base64.b64encode(details)),
        "grpc-retry-pushback-ms": len("4294967295"),
    }
    return sum(len(name) + length + 3 for name, length in trailers.items())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.Overloaded),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidParams),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
        (grpc.StatusCode.UNIMPLEMENTED, errors.MethodNotFound),
        (grpc.StatusCode.INTERNAL, errors.Internal),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.RemoteError),
    ],
)
@pytest.mark.parametrize("details", [None, b"", b"\xff\xff", Status(code=3, message="x").SerializeToString()])
def test_a_status_of_another_server(code: grpc.StatusCode, kind: type[GatewayError], details: bytes | None) -> None:
    error = from_status(code, "connection lost", details)
    assert (type(error), error.message) == (kind, "connection lost")
    assert from_status(code, None, details).message == code.name


@given(st.sampled_from(grpc.StatusCode), st.none() | st.text(), st.binary())
def test_any_details_make_an_error(code: grpc.StatusCode, message: str | None, details: bytes) -> None:
    assert isinstance(from_status(code, message, details), GatewayError)


@pytest.mark.parametrize(
    "metadata",
    [{}, {"jsonrpc.code": "x"}, {"jsonrpc.code": "9" * 5_000}, {"jsonrpc.code": "-32100", "jsonrpc.data": "nope"}],
)
@pytest.mark.parametrize("domain", ["runs-gateway", "elsewhere"])
def test_details_that_lie(metadata: dict[str, str], domain: str) -> None:
    status = Status()
    status.details.add().Pack(ErrorInfo(reason="NOT_FOUND", domain=domain, metadata=metadata))
    error = from_status(grpc.StatusCode.UNKNOWN, "m", status.SerializeToString())
    assert (type(error), error.message, error.data) == (RemoteError, "m", None)
