"""Errors <-> gRPC status with google.rpc details.

The details hold ErrorInfo (reason, domain, and in its metadata the JSON-RPC spelling of the error), BadRequest with a
violation for each field of bad parameters, QuotaFailure if a caller is at a limit, and RetryInfo where a retry helps.

All of it travels in HTTP/2 headers. Peers take 8 KiB of them by default, and some proxies 4 KiB with everything around
them, so the trailers of an error have 2 KiB at most. A message is cut at MAX_MESSAGE_BYTES. Of many violations, message
and BadRequest hold the first ones, and say how many there are: `violations_truncated`. `jsonrpc.data` is left out as a
whole where all details together would exceed MAX_DETAILS_BYTES; `jsonrpc.data_truncated` then takes its place.
"""

import re
from functools import lru_cache
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    BadRequest,
    ErrorInfo,
    QuotaFailure,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from gateway.adapter.jsonrpc import error_message
from gateway.adapter.remote_errors import parse_path, remote_error
from gateway.core.errors import (
    DOMAIN,
    GatewayError,
    Internal,
    InvalidParams,
    MethodNotFound,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RemoteError,
    Unauthenticated,
    Unavailable,
    Violation,
    render_path,
    shortened,
)
from gateway.core.json_text import json_text
from gateway.core.model import JsonText

MAX_TRAILERS_BYTES = 2_048
"""The most that the trailers of an error have, with their names: message, details, and what is around them."""

MAX_MESSAGE_BYTES = 400
MAX_VIOLATIONS_BYTES = 320
MAX_DETAILS_BYTES = 1_000
"""What is allowed of the message, percent-encoded, and of the details before they are encoded by base64."""

_MAX_FIELD_BYTES = 140
_TRUNCATED = "violations_truncated"
_REST_BYTES = 80
"""Room for the words that say how many violations are left out."""

_HIDDEN = re.compile("and ([0-9,]{1,12}) more(?: violations)?")

_OVERHEAD = 120
"""What is around ErrorInfo, a message and data in the details: the names of types and keys, and lengths."""
_KINDS: dict[grpc.StatusCode, type[GatewayError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidParams,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNIMPLEMENTED: MethodNotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}
"""What a status without our details means."""


def to_status(error: GatewayError) -> tuple[grpc.StatusCode, str, bytes]:
    """The code, the message, and the bytes of the google.rpc.Status that holds them and the details."""
    if isinstance(error, QuotaExceeded) and error.data is None and error.retry_after is not None:
        # A refusal has to cost far less than a call: but for the time, it is always the same.
        code, message, details = _status_of_quota(error.message, error.quota, error.subject)
        return code, message, details + _retry_part(error.retry_after)
    return _status(error)


@lru_cache(maxsize=1_024)
def _status_of_quota(message: str, quota: str, subject: str) -> tuple[grpc.StatusCode, str, bytes]:
    """The status of a limit that a caller is at, to which the time to wait is to be added: parts of messages add up."""
    return _status(QuotaExceeded(message, quota=quota, subject=subject))


@lru_cache(maxsize=2_048)
def _retry_part(seconds: float) -> bytes:
    """A part of a status, which tells how long to wait."""
    return bytes(Status(details=[_retry_info(seconds)]).SerializeToString())


def _retry_info(seconds: float) -> Any:
    """The detail that tells how long to wait."""
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 10**9))
    packed = AnyMessage()
    packed.Pack(RetryInfo(retry_delay=delay))
    return packed


def _status(error: GatewayError) -> tuple[grpc.StatusCode, str, bytes]:
    code = grpc.StatusCode[error.grpc_status]
    rest = ""
    if isinstance(error, InvalidParams):
        error = _first_violations(error)
        rest = error.rest
    status = Status(code=code.value[0], message=_cut(error.message, MAX_MESSAGE_BYTES, rest, encoded=True))
    info = ErrorInfo(reason=error.reason, domain=DOMAIN)
    info.metadata["jsonrpc.code"] = str(error.jsonrpc_code)
    if isinstance(error, InvalidParams):
        status.details.add().Pack(_bad_request(error))
        if rest:
            info.metadata[_TRUNCATED] = rest
    if isinstance(error, QuotaExceeded):
        status.details.add().Pack(_quota_failure(error))
    if error.retry_after is not None:
        status.details.append(_retry_info(error.retry_after))
    room = MAX_DETAILS_BYTES - status.ByteSize() - info.ByteSize() - _OVERHEAD
    message = _cut(error_message(error), min(room, MAX_MESSAGE_BYTES), rest)
    info.metadata["jsonrpc.message"] = message
    if error.data is not None:
        room -= len(message.encode())
        fits = len(error.data) < room and len(error.data.encode()) < room
        info.metadata["jsonrpc.data" if fits else "jsonrpc.data_truncated"] = error.data if fits else "true"
    status.details.add().Pack(info)
    return code, status.message, status.SerializeToString()


def from_status(code: grpc.StatusCode, message: str | None, details: bytes | None) -> GatewayError:
    """The error that a call ended with: exactly the one that was sent, up to what the limits cut off.

    A status without our details, of another server or of gRPC itself, becomes the error that its code comes closest to.
    """
    status = Status()
    try:
        status.ParseFromString(details or b"")
    except DecodeError:
        status.Clear()
    info, bad_request, quota, retry = ErrorInfo(), BadRequest(), QuotaFailure(), RetryInfo()
    for detail in status.details:
        for known in (info, bad_request, quota, retry):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    text = message or ""
    jsonrpc_code = _code(info)
    if jsonrpc_code is None:
        text = text or code.name
        kind = _KINDS.get(code)
        return RemoteError(RemoteError.code, text) if kind is None else remote_error(kind.code, text)
    data = _data(info)
    if data is not None or not bad_request.field_violations:
        # The model's names of fields are in the message of the status only, and this one is cut less.
        text = info.metadata.get("jsonrpc.message", text)
    return remote_error(
        jsonrpc_code,
        text,
        data=data,
        reason=info.reason,
        violations=[Violation(parse_path(field.field), field.description) for field in bad_request.field_violations],
        rest=shortened(info.metadata.get(_TRUNCATED, ""), _REST_BYTES),
        retry_after=retry.retry_delay.ToNanoseconds() / 10**9 if retry.HasField("retry_delay") else None,
        quota="".join(failure.description for failure in quota.violations[:1]),
        subject="".join(failure.subject for failure in quota.violations[:1]),
    )


def _first_violations(error: InvalidParams) -> InvalidParams:
    """The error with as many violations as fit, at least one. Its message says how many others there are."""
    message_room, details_room = MAX_MESSAGE_BYTES, MAX_VIOLATIONS_BYTES
    for number, violation in enumerate(error.violations):
        message_room -= _encoded_length(str(violation)) + len("; ")
        details_room -= _field_violation(violation).ByteSize() + 2
        # The count of the others has to fit as well, unless there are none.
        reserve = 0 if number + 1 == len(error.violations) and not error.rest else _REST_BYTES
        if number and (message_room < reserve or details_room < 0):
            left_out = type(error)(error.violations[:number], data=error.data, rest=_rest(error, number))
            left_out.retry_after = error.retry_after
            return left_out
    return error


def _rest(error: InvalidParams, kept: int) -> str:
    """How many violations are left out if so many are kept."""
    number = len(error.violations) - kept
    hidden = _HIDDEN.fullmatch(error.rest)
    if hidden is not None:
        return f"and {number + int(hidden[1].replace(',', '')):,} more violations"
    return f"and {number:,} more violations" + f"; {error.rest}" * bool(error.rest)


def _bad_request(error: InvalidParams) -> BadRequest:
    bad_request = BadRequest()
    for violation in error.violations:
        bad_request.field_violations.append(_field_violation(violation))
        if bad_request.ByteSize() > MAX_VIOLATIONS_BYTES:
            del bad_request.field_violations[-1]
            break
    return bad_request


def _quota_failure(error: QuotaExceeded) -> QuotaFailure:
    """The limit that is reached. Its subject is told to the one whom it names, so nobody learns of others."""
    subject = _cut(error.subject, _MAX_FIELD_BYTES)
    return QuotaFailure(violations=[QuotaFailure.Violation(subject=subject, description=error.quota)])


def _field_violation(violation: Violation) -> BadRequest.FieldViolation:
    path, description = violation
    return BadRequest.FieldViolation(
        field=_cut(render_path(path), _MAX_FIELD_BYTES), description=_cut(description, _MAX_FIELD_BYTES)
    )


def _code(info: ErrorInfo) -> int | None:
    """The JSON-RPC code; None if the details are not those of a server like this one."""
    if info.domain != DOMAIN:
        return None
    try:
        return int(info.metadata.get("jsonrpc.code", ""))
    except ValueError:
        return None


def _data(info: ErrorInfo) -> JsonText | None:
    text = info.metadata.get("jsonrpc.data")
    try:
        return None if text is None else json_text(text)
    except GatewayError:
        return None


def _encoded_length(text: str) -> int:
    """How many bytes a text has when gRPC has percent-encoded it."""
    if text.isascii() and text.isprintable() and "%" not in text:
        return len(text)
    return sum(1 if 0x20 <= byte < 0x7F and byte != ord("%") else 3 for byte in text.encode(errors="replace"))


def _cut(text: str, limit: int, rest: str = "", *, encoded: bool = False) -> str:
    """The text, shortened so that it has at most `limit` bytes; `encoded`: as gRPC percent-encodes messages.

    If it ends with `rest`, so does what is left of it.
    """
    data = text.encode(errors="replace")
    length = _encoded_length(text) if encoded else len(data)
    if length <= limit:
        return data.decode()
    end = f"...; {rest}" if rest and text.endswith(rest) else "..."
    width = 1 if length == len(data) else 3
    return data[: max(0, limit - len(end)) // width].decode(errors="ignore") + end
