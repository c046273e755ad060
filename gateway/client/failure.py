"""The failures of calls: the status of gRPC becomes an error of the gateway."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from gateway.adapter.grpc_status import from_status
from gateway.core.counted import counted
from gateway.core.errors import GatewayError, TooLarge, Unavailable, go_away
from gateway.peers.grpc.proxy_answers import proxy_error

_CUTS = {
    grpc.StatusCode.UNAVAILABLE,
    # gRPC may report a cut connection or stream with any of these. The gateway's own errors come with details.
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}

_WORDS = {
    "http1": "the peer speaks HTTP/1, not gRPC; is this the HTTP address of the gateway?",
    "Expected SETTINGS frame": "the peer does not speak gRPC",
    "before receiving SETTINGS frame": "the peer takes connections, and does not answer",
    "Data frame with END_STREAM": "something before the gateway has answered in its place, and not in gRPC",
}
"""What a part of the words of grpc means."""

_AGED = ("max connection age", "max_age")
"""The words of grpc for a call that has begun while the server closed its connection for its age."""

_NOT_RESOLVED = re.compile("errors resolving |DNS resolution failed")


def failure(
    address: str, code: grpc.StatusCode, message: str | None, details: bytes | str | None
) -> GatewayError | TimeoutError:
    """Return the error of a call: the one that the gateway sent, or one for what gRPC says about the connection.

    A call whose time has passed without an answer gives TimeoutError.
    """
    text = message or code.name
    if isinstance(details, bytes):
        return from_status(code, message, details)
    if (refusal := proxy_error(code, text, f"the gateway at {address}")) is not None:
        return refusal
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError(f"no answer in time from the gateway at {address}")
    if code in _CUTS:
        return go_away() if text in _AGED else Unavailable(f"cannot reach the gateway at {address}: {_reason(text)}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:
        return TooLarge(text)
    return from_status(code, message, None)


def _reason(text: str) -> str:
    """Why a connection has failed, in words of ours where grpc's hide it."""
    for part, words in _WORDS.items():
        if part in text:
            return words
    if text.startswith("failed to connect to all addresses"):
        return text.rpartition(": ")[2]
    if _NOT_RESOLVED.match(text):
        return f"the name of the host cannot be resolved: {text.rpartition(': ')[2].rstrip(']')}"
    return text


def silence(address: str, seconds: float) -> Unavailable:
    """Return the error for a stream that has been silent for too long."""
    return Unavailable(f"cannot reach the gateway at {address}: nothing has come for {counted(seconds, 'second')}")


@contextmanager
def in_doubt(idempotency_key: str | None) -> Iterator[None]:
    """Say in a TimeoutError of the block that the run may exist, and how to find it."""
    try:
        yield
    except TimeoutError as error:
        found = f"a submit with the idempotency key {idempotency_key!r} returns it"
        error.args = (f"{error}: the run may have been accepted; {found}",)
        raise


@contextmanager
def naming(run_id: str) -> Iterator[None]:
    """Name a run in the errors of the block: the caller has not been told its id."""
    try:
        yield
    except GatewayError as error:
        if run_id not in error.message:
            error.message = f"{error.message} (run {run_id})"
            error.args = (error.message,)
        raise


class UploadFailed(Exception):
    """The call of an upload has failed with `reason`; its inputs have not."""

    def __init__(self, reason: GatewayError | TimeoutError) -> None:
        super().__init__(reason)
        self.reason = reason
