"""What proxies answer in the place of a gRPC server: HTTP statuses, which gRPC passes on in a message of its own."""

import re
from http import HTTPStatus
from typing import Final

import grpc

from gateway.core.errors import (
    GatewayError,
    Overloaded,
    PermissionDenied,
    RemoteError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

_STATUS: Final = re.compile(r"Received http2 header with status: ([1-5][0-9]{2})\b")
"""The message of gRPC, 1.76 to 1.85, for an answer whose HTTP status is not 200."""

_TOO_LARGE: Final = re.compile(r"payload too large|entity too large|content too large", re.IGNORECASE)
"""What proxies that speak gRPC say in its own form."""

_NAMES: Final = {413: "Content Too Large"}
"""Names that not all versions of Python have alike."""

_KINDS: Final[dict[int, type[GatewayError]]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    408: Unavailable,
    413: TooLarge,
    425: Unavailable,
    429: Overloaded,
}


def proxy_error(code: grpc.StatusCode, message: str, peer: str) -> GatewayError | None:
    """Return the error for a call that ended without details of a server; None if no proxy is known to have ended it.

    `peer` says before what the proxy is.
    """
    found = _STATUS.search(message)
    if found is None:
        if code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED) and _TOO_LARGE.search(message):
            return TooLarge(f"a proxy before {peer} takes no messages as large as this one: {message}")
        return None
    status = int(found[1])
    text = f"a proxy before {peer} has answered with HTTP {status}{_name(status)}"
    kind = _KINDS.get(status, Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None)
    if kind is None:
        return RemoteError(RemoteError.code, f"{text}: the address may be wrong, or the proxy does not pass gRPC on")
    return kind(text)


def _name(status: int) -> str:
    try:
        return f" ({_NAMES.get(status) or HTTPStatus(status).phrase})"
    except ValueError:
        return ""
