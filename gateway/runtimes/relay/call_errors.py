"""Failed calls on another gateway -> errors of this one. No I/O."""

from typing import Final

import grpc
from grpc import aio

from gateway.adapter.grpc_status import from_status
from gateway.core.errors import GatewayError, TooLarge, Unavailable
from gateway.peers.grpc.channel import DETAILS_TRAILER

_BROKEN: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
"""Codes that, without a gateway's details, mean that the connection was lost or that the server cut the call off."""


def call_error(error: aio.AioRpcError) -> GatewayError:
    """Return the error of this gateway for a call that failed."""
    code, details = error.code(), _details(error)
    if details is None:
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unavailable("the upstream gateway did not answer in time", retry_after=1.0)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TooLarge("the message is larger than the upstream gateway takes")
        if code in _BROKEN:
            return Unavailable("the upstream gateway cannot be reached", retry_after=1.0)
    failure = from_status(code, error.details(), details)
    if isinstance(failure, Unavailable) and failure.retry_after is None:
        failure.retry_after = 1.0
    return failure


def is_refusal(error: aio.AioRpcError) -> bool:
    """Return whether the other gateway did not execute the call because it is about to stop."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and _details(error) is not None


def _details(error: aio.AioRpcError) -> bytes | None:
    # Not dict(): the metadata of older grpcio has `keys` and yields pairs.
    details = next((value for name, value in error.trailing_metadata() or () if name == DETAILS_TRAILER), None)
    return details if isinstance(details, bytes) else None
