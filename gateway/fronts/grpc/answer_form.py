"""How a client wants its answers: their encoding, and how large they may be.

A client whose gRPC library receives less than it is sent only learns that a message was too large, not what to set.
"""

from typing import Final

from msgspec import Struct

from gateway.core.errors import TooLarge
from gateway.fronts.grpc.messages import Encoding
from runs.v1 import runs_pb2

DEFAULT_RECEIVED: Final = 4 << 20
"""The largest message that gRPC libraries receive unless they are told otherwise, in bytes."""

VALUES_FACTOR: Final = 8
"""How often results are held while an answer with values is built: these take up to six times the space of a text."""


class AnswerForm(Struct, frozen=True, gc=False):
    """The encoding of results, and the largest message, in bytes."""

    encoding: Encoding
    limit: int

    @classmethod
    def of(cls, request: runs_pb2.SubmitRunRequest | runs_pb2.GetRunRequest | runs_pb2.WatchSet) -> "AnswerForm":
        """The form that a request asks for."""
        return cls(request.result_encoding, receive_limit(request.max_response_message_bytes))

    def refuse_larger(self, size: int) -> None:
        """Raise TooLarge if a message is larger, which says what to set."""
        if size > self.limit:
            raise not_received("an update", size, self.limit)


def receive_limit(asked: int) -> int:
    """The largest message for a client that asks for so many bytes; 0 if it does not ask."""
    return max(asked, DEFAULT_RECEIVED)


def not_received(what: str, size: int, limit: int) -> TooLarge:
    """The error for a message that the client would not receive."""
    return TooLarge(
        f"{what} has {size} bytes, and the client receives {limit}: set max_response_message_bytes in the request, and"
        " the limit of the client's own library (grpc.max_receive_message_length), or fetch it over HTTP"
    )
