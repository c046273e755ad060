"""Errors as Connect writes them: a code in small letters, a message, and details in base64."""

from base64 import b64encode
from http import HTTPStatus
from typing import Any, Final

import grpc
import msgspec
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from gateway.fronts.grpc.calls import Trailers
from gateway.peers.grpc.channel import DETAILS_TRAILER

CLIENT_CLOSED: Final = 499

_HTTP: Final = {
    "CANCELLED": CLIENT_CLOSED,
    "UNKNOWN": HTTPStatus.INTERNAL_SERVER_ERROR,
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "ALREADY_EXISTS": HTTPStatus.CONFLICT,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "FAILED_PRECONDITION": HTTPStatus.BAD_REQUEST,
    "ABORTED": HTTPStatus.CONFLICT,
    "OUT_OF_RANGE": HTTPStatus.BAD_REQUEST,
    "UNIMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "INTERNAL": HTTPStatus.INTERNAL_SERVER_ERROR,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DATA_LOSS": HTTPStatus.INTERNAL_SERVER_ERROR,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
}
"""The status of HTTP for each code, by the specification of Connect."""


def http_status(code: grpc.StatusCode) -> int:
    """The status of HTTP with which a call ends by a code."""
    return int(_HTTP[code.name])


def error_json(code: grpc.StatusCode, message: str, trailers: Trailers) -> dict[str, Any]:
    """An error as an object of JSON."""
    error: dict[str, Any] = {"code": "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower()}
    if message:
        error["message"] = message
    for name, value in trailers:
        if name == DETAILS_TRAILER and isinstance(value, bytes):
            error["details"] = [_detail(each) for each in Status.FromString(value).details]
    return error


def error_body(code: grpc.StatusCode, message: str, trailers: Trailers) -> bytes:
    """The body of an answer that is an error."""
    return msgspec.json.encode(error_json(code, message, trailers))


def stream_end(error: dict[str, Any] | None) -> bytes:
    """The last message of a stream."""
    return msgspec.json.encode({} if error is None else {"error": error})


def _detail(detail: Any) -> dict[str, str]:
    return {
        "type": detail.type_url.rpartition("/")[2],
        "value": b64encode(detail.value).rstrip(b"=").decode(),
    }
