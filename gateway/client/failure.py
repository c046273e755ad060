"""How a call failed: the status of gRPC as an error of the gateway."""

import grpc

from gateway.adapter.status import from_status
from gateway.core.errors import GatewayError, TooLarge, Unavailable

DETAILS = "grpc-status-details-bin"

_CUTS = {
    grpc.StatusCode.UNAVAILABLE,
    # How gRPC tells, at times, that the connection or the stream was cut. Ours come with details.
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}


def failure(
    address: str, code: grpc.StatusCode, message: str | None, details: bytes | str | None
) -> GatewayError | TimeoutError:
    """The error that a call ended with: the one that the gateway sent, or what gRPC itself says about the connection.

    TimeoutError when the time of the call has passed without an answer.
    """
    text = message or code.name
    if isinstance(details, bytes):
        return from_status(code, message, details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError(f"no answer in time from the gateway at {address}")
    if code in _CUTS:
        return Unavailable(f"cannot reach the gateway at {address}: {text}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:
        return TooLarge(text)
    return from_status(code, message, None)


def silence(address: str, seconds: float) -> Unavailable:
    """The error for a stream on which nothing has come for too long."""
    return Unavailable(f"cannot reach the gateway at {address}: nothing has come for {seconds:g} seconds")
