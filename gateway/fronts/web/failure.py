"""With which status a call fails."""

from typing import Final, NamedTuple

import grpc

from gateway.core.errors import GatewayError
from gateway.fronts.grpc.calls import Trailers, ending
from gateway.fronts.http.responses import (
    MethodNotAllowed,
    RequestTimeout,
    UnsupportedContentCoding,
    UnsupportedMediaType,
)

_CODES: Final[dict[type[Exception], grpc.StatusCode]] = {
    UnsupportedContentCoding: grpc.StatusCode.UNIMPLEMENTED,  # So say all these protocols.
    RequestTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,  # As for a message that stalls: they have no status 408.
}
"""The codes of errors for which JSON-RPC has none of their own."""


def code_of(kind: type[GatewayError]) -> grpc.StatusCode | None:
    """The code of errors of a kind; None if a request is in no protocol then, and the status of HTTP tells all."""
    if kind in _CODES:
        return _CODES[kind]
    return None if issubclass(kind, MethodNotAllowed | UnsupportedMediaType) else grpc.StatusCode[kind.grpc_status]


class Failure(NamedTuple):
    """A status other than OK, with its message and trailers."""

    code: grpc.StatusCode
    message: str
    trailers: Trailers = ()

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """The failure that an error is."""
        code, message, trailers = ending(error)
        return cls(_CODES.get(type(error), code), message, trailers)


EXPIRED: Final = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
