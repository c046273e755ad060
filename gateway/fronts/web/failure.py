"""With which status a call fails."""

from typing import Final, NamedTuple

import grpc

from gateway.fronts.grpc.calls import Trailers, ending


class Failure(NamedTuple):
    """A status other than OK, with its message and trailers."""

    code: grpc.StatusCode
    message: str
    trailers: Trailers = ()

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """The failure that an error is."""
        return cls(*ending(error))


EXPIRED: Final = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
