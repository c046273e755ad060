"""What all calls share: errors as statuses, deadlines, and limits on their number."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Never, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import aio

from gateway.access.limits import FollowedByCaller
from gateway.adapter.grpc_status import to_status
from gateway.core.errors import GatewayError, Overloaded, TooLarge
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.core.refusals import count_refusal
from gateway.peers.grpc.channel import DETAILS_TRAILER, PUSHBACK_TRAILER
from gateway.runs.deadlines import time_to_answer

Trailers: TypeAlias = tuple[tuple[str, str | bytes], ...]

_LONGEST_PUSHBACK_MS = (1 << 31) - 1

Context: TypeAlias = aio.ServicerContext[Any, Any]

_S = TypeVar("_S")
_Q = TypeVar("_Q")
_A = TypeVar("_A")
_M = TypeVar("_M", bound=Message)


class RequestStalled(GatewayError):
    """A client has begun to send a request, and has not gone on."""

    code, grpc_status, http_status, reason = -32018, "DEADLINE_EXCEEDED", 408, "REQUEST_STALLED"


class CapacityLimiter:
    """A limited number of places. `with` takes one; raises Overloaded if all are taken."""

    def __init__(self, number: int, name: str) -> None:
        self._free = number
        self._name = name

    def __enter__(self) -> None:
        if not self._free:
            self.take()
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1

    def take(self, number: int = 1) -> None:
        """Take places. Raises Overloaded if there are not enough."""
        if number > self._free:
            raise Overloaded(f"too many {self._name} at once", retry_after=1.0)
        self._free -= number

    def give_back(self, number: int = 1) -> None:
        """Give back places that were taken."""
        self._free += number


class CallerCapacity(CapacityLimiter):
    """Places of a limit of all, of which one caller may have only some."""

    def __init__(self, capacity: CapacityLimiter, followed: FollowedByCaller) -> None:
        self._capacity = capacity
        self._followed = followed

    def take(self, number: int = 1) -> None:
        self._followed.take(number)
        try:
            self._capacity.take(number)
        except BaseException:
            self._followed.give_back(number)
            raise

    def give_back(self, number: int = 1) -> None:
        self._followed.give_back(number)
        self._capacity.give_back(number)


def handler(method: Callable[[_S, _Q, Context], Awaitable[_A]]) -> Callable[[_S, _Q, Context], Awaitable[_A]]:
    """Let a method raise any exception: the client gets its status and details."""

    @functools.wraps(method)
    async def handle(servicer: _S, request: _Q, context: Context) -> _A:
        answering = method(servicer, request, context)
        del request  # It may be large, and the call go on for hours.
        try:
            return await answering
        except Exception as error:
            if is_cut(error):
                release_frames(error)
                raise
            ending = abort(context, error)
        except asyncio.CancelledError as cancelled:
            release_frames(cancelled)
            raise
        # Its exception holds this frame, and the context of grpcio the exception: the frame holds nothing by then.
        del context
        await ending
        raise AssertionError("the call has been aborted")

    return handle


def unguarded(method: Any) -> Any:
    """A method without what `handler` puts around it, for a transport that takes any exception itself."""
    return inspect.unwrap(method).__get__(method.__self__) if inspect.ismethod(method) else method


def is_cut(error: BaseException | None) -> bool:
    """Whether grpcio could not send a message since the call has ended: its client has left, or the server stops.

    The text is that of grpcio 1.76 to 1.85; the same exception has others for mistakes of the caller.
    """
    return isinstance(error, aio.InternalError) and str(error).startswith('Failed "execute_batch"')


def abort(context: Context, error: Exception) -> Awaitable[Never]:
    """End a call with the status and the details of an error: to be awaited by a frame that holds nothing."""
    code, message, trailers = ending(error)
    return context.abort(code, message, trailers)


def ending(error: Exception) -> tuple[grpc.StatusCode, str, Trailers]:
    """What a call ends with that has raised an error: the status, its message, and the trailers.

    Where a retry helps, the trailers say when also to what retries calls by itself, as gRPC and proxies do.
    """
    told = error_to_tell(error)
    count_refusal(told)
    code, message, details = to_status(told)
    if told.retry_after is None:
        return code, message, ((DETAILS_TRAILER, details),)
    pushback = min(round(told.retry_after * 1_000), _LONGEST_PUSHBACK_MS)
    return code, message, ((DETAILS_TRAILER, details), (PUSHBACK_TRAILER, str(pushback)))


def answer_by(context: Context) -> float | None:
    """When a call that waits has to answer, as a value of `time.monotonic()`; None if it has no deadline."""
    remaining: Any = context.time_remaining()  # May be None, which grpc's types leave out.
    return None if remaining is None else time_to_answer(remaining)


def fitting(message: _M, limit: int, otherwise: str) -> _M:
    """The message. Raises TooLarge if it exceeds the limit: grpc would end the call without saying what to do."""
    if message.ByteSize() > limit:
        raise TooLarge(otherwise)
    return message
