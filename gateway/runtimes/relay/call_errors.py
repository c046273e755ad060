"""Failed calls on another gateway -> errors of this one. No I/O."""

from typing import Final

import grpc
from grpc import aio

from gateway.adapter.grpc_status import from_status
from gateway.core.errors import (
    GatewayError,
    Overloaded,
    TooLarge,
    Unavailable,
)
from gateway.peers.grpc.channel import DETAILS_TRAILER
from gateway.peers.grpc.proxy_answers import proxy_error

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
    """Return the error of this gateway for a call that failed.

    Unauthenticated and PermissionDenied concern what this gateway has shown, unless it is a process of the same one.
    """
    code, details = error.code(), _details(error)
    if details is None:
        if (refusal := proxy_error(code, error.details() or "", "the upstream gateway")) is not None:
            return _of_upstream(refusal)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unavailable("the upstream gateway did not answer in time", retry_after=1.0)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TooLarge("the message is larger than the upstream gateway takes")
        if code in _BROKEN:
            return Unavailable("the upstream gateway cannot be reached", retry_after=1.0)
    return _of_upstream(from_status(code, error.details(), details))


def is_refusal(error: aio.AioRpcError) -> bool:
    """Return whether the other gateway did not execute the call because it is about to stop."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and _details(error) is not None


def _of_upstream(failure: GatewayError) -> GatewayError:
    """The error of this gateway for one of the upstream, or of what is before it."""
    if isinstance(failure, (Unavailable, Overloaded)) and failure.retry_after is None:
        failure.retry_after = 1.0
    return failure


def _details(error: aio.AioRpcError) -> bytes | None:
    # Not dict(): the metadata of older grpcio has `keys` and yields pairs.
    details = next((value for name, value in error.trailing_metadata() or () if name == DETAILS_TRAILER), None)
    return details if isinstance(details, bytes) else None
