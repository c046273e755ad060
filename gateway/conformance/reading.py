"""Reads streams of GetRun, whole or in part, and folds what they tell."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import grpc
from grpc import aio

from gateway.conformance.promise import PromiseBroken, hold, same
from gateway.conformance.target import Target
from runs.v1 import runs_pb2

TERMINAL = frozenset({runs_pb2.RUN_STATE_SUCCESS, runs_pb2.RUN_STATE_FAILED, runs_pb2.RUN_STATE_CANCELLED})

_MOST_MESSAGES: Final = 5_000
"""More messages than any stream of the kit has: one that has no end is read no further."""


class ReadStream(NamedTuple):
    """The messages of a stream, and how it ended; None: the reader left."""

    messages: list[runs_pb2.GetRunResponse]
    end: grpc.StatusCode | None

    def ended_in_order(self) -> "ReadStream":
        """The same. Raises PromiseBroken unless it has messages and ended with OK."""
        same(self.end, grpc.StatusCode.OK, "the status that ends the stream")
        hold(self.messages, "the stream ended with OK without a message")
        return self


async def next_message(target: Target, call: Any, before: int) -> Any:
    """The next message of a call, of which so many came `before`; aio.EOF at its end.

    Raises PromiseBroken if neither comes in time, if there are too many messages, and for bytes that are no message,
    which grpc gives as None.
    """
    hold(before < _MOST_MESSAGES, f"more than {_MOST_MESSAGES:,} messages have come, and not what was to come")
    try:
        async with asyncio.timeout(target.patience) as limit:
            message = await call.read()
    except TimeoutError:
        if not limit.expired():
            raise
        raise PromiseBroken(f"neither a message nor the end has come within {target.patience:g} s") from None
    hold(message is not None, "what came is no message of the contract")
    return message


async def read(
    target: Target,
    request: runs_pb2.GetRunRequest,
    *,
    most: int | None = None,
    until: Callable[[runs_pb2.GetRunResponse], bool] = lambda _: False,
    deadline: float | None = None,
) -> ReadStream:
    """Read a stream to its end, `most` messages of it, or until one of them is what was looked for."""
    messages: list[runs_pb2.GetRunResponse] = []
    call = target.runs.GetRun(request, timeout=deadline)
    try:
        while most is None or len(messages) < most:
            message = await next_message(target, call, len(messages))
            if message is aio.EOF:
                return ReadStream(messages, await call.code())
            messages.append(message)
            if until(message):
                break
        return ReadStream(messages, None)
    except aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise
        return ReadStream(messages, error.code())
    finally:
        call.cancel()


@asynccontextmanager
async def reading_beside(target: Target, request: runs_pb2.GetRunRequest) -> AsyncIterator["asyncio.Task[ReadStream]"]:
    """Read a stream to its end beside what the block does, or until that is left."""
    task = asyncio.create_task(read(target, request))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def get(run_id: str, *, token: bytes = b"", **fields: Any) -> runs_pb2.GetRunRequest:
    """The request of a stream that waits, with results as JSON, unless `fields` say otherwise."""
    given = {"wait": True, "include_results": True, "result_encoding": runs_pb2.RESULT_ENCODING_JSON, **fields}
    return runs_pb2.GetRunRequest(run_id=run_id, resume_token=token, **given)


def last_token(messages: Sequence[runs_pb2.GetRunResponse]) -> bytes:
    """Where a stream goes on."""
    return messages[-1].resume_token if messages else b""


def indexes(messages: Iterable[runs_pb2.GetRunResponse]) -> list[int]:
    """The items whose results messages hold, in order."""
    return [result.item_index for message in messages for result in message.run.results]


def fold(messages: Sequence[runs_pb2.GetRunResponse]) -> bytes:
    """What streams come to, to be compared: the last status, with the results of all messages."""
    whole = runs_pb2.RunStatus()
    whole.CopyFrom(messages[-1].run)
    del whole.results[:]
    for message in messages:
        whole.results.extend(message.run.results)
    return whole.SerializeToString(deterministic=True)


def state(run: runs_pb2.RunStatus) -> bytes:
    """A status without results, to be compared."""
    bare = runs_pb2.RunStatus()
    bare.CopyFrom(run)
    del bare.results[:]
    return bare.SerializeToString(deterministic=True)


def finished(message: runs_pb2.GetRunResponse) -> int:
    """How many items have finished."""
    items = message.run.items
    return items.success + items.failed + items.cancelled


def is_terminal(message: runs_pb2.GetRunResponse) -> bool:
    """Whether a run has ended."""
    return message.run.status in TERMINAL
