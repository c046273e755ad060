"""Errors <-> gRPC status with google.rpc details.

The details hold ErrorInfo (reason, domain, and in its metadata the JSON-RPC spelling of the error), BadRequest with a
violation for each field of bad parameters, and RetryInfo where a retry helps.

All of it travels in HTTP/2 headers, which peers bound to 8 KiB by default. Therefore a message is cut at
MAX_MESSAGE_BYTES, a BadRequest holds the first violations only, up to MAX_VIOLATIONS_BYTES, and `jsonrpc.data` is left
out as a whole where all details together would exceed MAX_DETAILS_BYTES; `jsonrpc.data_truncated` then takes its place.
"""

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
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
    RemoteError,
    Unauthenticated,
    Unavailable,
    Violation,
    render_path,
)
from gateway.core.json_text import json_text
from gateway.core.model import JsonText

MAX_MESSAGE_BYTES = 1_024
MAX_VIOLATIONS_BYTES = 1_536
MAX_DETAILS_BYTES = 5_000

_MAX_FIELD_BYTES = 256
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
    code = grpc.StatusCode[error.grpc_status]
    status = Status(code=code.value[0], message=_cut(error.message, MAX_MESSAGE_BYTES, encoded=True))
    info = ErrorInfo(reason=error.reason, domain=DOMAIN)
    info.metadata["jsonrpc.code"] = str(error.jsonrpc_code)
    info.metadata["jsonrpc.message"] = _cut(error_message(error), MAX_MESSAGE_BYTES)
    if isinstance(error, InvalidParams):
        status.details.add().Pack(_bad_request(error))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after * 10**9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    if error.data is not None:
        room = MAX_DETAILS_BYTES - status.ByteSize() - info.ByteSize()
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
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        for known in (info, bad_request, retry):
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
        retry_after=retry.retry_delay.ToNanoseconds() / 10**9 if retry.HasField("retry_delay") else None,
    )


def _bad_request(error: InvalidParams) -> BadRequest:
    bad_request = BadRequest()
    for path, description in error.violations:
        bad_request.field_violations.add(
            field=_cut(render_path(path), _MAX_FIELD_BYTES), description=_cut(description, _MAX_FIELD_BYTES)
        )
        if bad_request.ByteSize() > MAX_VIOLATIONS_BYTES:
            del bad_request.field_violations[-1]
            break
    return bad_request


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


def _cut(text: str, limit: int, *, encoded: bool = False) -> str:
    """The text, shortened so that it has at most `limit` bytes; `encoded`: as gRPC percent-encodes messages."""
    width = 3 if encoded and not (text.isascii() and text.isprintable() and "%" not in text) else 1
    room = limit // width
    data = text.encode(errors="replace")
    if len(data) <= room:
        return data.decode()
    return data[: room - 3].decode(errors="ignore") + "..."
