"""With which status a call fails."""

from typing import Final, NamedTuple

import grpc

from gateway.fronts.grpc.calls import Trailers, ending
from gateway.fronts.http.responses import UnsupportedContentCoding


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
        return cls(code, message, trailers)


EXPIRED: Final = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
