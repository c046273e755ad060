"""With which status a call fails."""

from typing import Final, NamedTuple

import grpc

from gateway.fronts.grpc.calls import Trailers, ending
from gateway.fronts.http.responses import RequestTimeout, UnsupportedContentCoding


class Failure(NamedTuple):
    """A status other than OK, with its message and trailers."""

    code: grpc.StatusCode
    message: str
    trailers: Trailers = ()

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """The failure that an error is."""
        code, message, trailers = ending(error)
        if isinstance(error, UnsupportedContentCoding):
            code = grpc.StatusCode.UNIMPLEMENTED  # So say all these protocols.
        elif isinstance(error, RequestTimeout):
            code = grpc.StatusCode.DEADLINE_EXCEEDED  # As for a message that stalls: they have no status 408.
        return cls(code, message, trailers)


EXPIRED: Final = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
