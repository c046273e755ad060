"""A stream of WatchRuns that the kit follows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from gateway.conformance.promise import NotTried, PromiseBroken, hold, same
from gateway.conformance.reading import next_message
from gateway.conformance.target import Target
from runs.v1 import runs_pb2


class WatchedStream:
    """An open stream. `ask` tells it what to follow, and `next` reads."""

    def __init__(self, target: Target, call: Any) -> None:
        self._target = target
        self._call = call
        self._came = 0

    async def ask(self, **action: Any) -> None:
        """Add or remove something: one action of WatchRunsRequest."""
        await self._call.write(runs_pb2.WatchRunsRequest(**action))

    async def done_asking(self) -> None:
        """Close the side of the client."""
        await self._call.done_writing()

    async def next(self) -> runs_pb2.WatchRunsResponse:
        """The next message. Raises PromiseBroken if the stream ends, and NotTried if a set cannot be followed."""
        message = await self._read()
        hold(message is not aio.EOF, "the stream has ended, although something is followed")
        error: runs_pb2.WatchError = message.error
        if message.WhichOneof("event") == "error" and error.code == grpc.StatusCode.UNIMPLEMENTED.value[0]:
            raise NotTried(f"the target does not implement it: {error.message}")
        return message  # type: ignore[no-any-return]

    async def until(self, condition: Callable[[runs_pb2.WatchRunsResponse], bool]) -> list[runs_pb2.WatchRunsResponse]:
        """The messages up to the one that was looked for."""
        messages: list[runs_pb2.WatchRunsResponse] = []
        while not messages or not condition(messages[-1]):
            messages.append(await self.next())
        return messages

    async def rest(self) -> list[runs_pb2.WatchRunsResponse]:
        """All messages to the end of the stream. Raises PromiseBroken unless it ends with OK."""
        messages: list[runs_pb2.WatchRunsResponse] = []
        while (message := await self._read()) is not aio.EOF:
            messages.append(message)
        same(await self._call.code(), grpc.StatusCode.OK, "the status that ends the stream")
        return messages

    async def refused(self) -> grpc.StatusCode:
        """The status that ends the stream. Raises PromiseBroken if a message comes before."""
        try:
            message = await self._read()
        except aio.AioRpcError as error:
            return error.code()
        if message is aio.EOF:
            return await self._call.code()  # type: ignore[no-any-return]
        raise PromiseBroken("a message has come in place of an error")

    async def _read(self) -> Any:
        message = await next_message(self._target, self._call, self._came)
        self._came += 1
        return message


@asynccontextmanager
async def watching(target: Target) -> AsyncIterator[WatchedStream]:
    """A stream that lasts as long as the block."""
    call = target.runs.WatchRuns()
    try:
        yield WatchedStream(target, call)
    finally:
        call.cancel()


def ends(name: str) -> Callable[[runs_pb2.WatchRunsResponse], bool]:
    """Whether a message is the end of a run."""
    return lambda message: message.run_id == name and message.WhichOneof("event") == "ended"


def updates_of(run_id: str, messages: list[runs_pb2.WatchRunsResponse]) -> list[runs_pb2.GetRunResponse]:
    """What messages tell of a run."""
    return [message.update for message in messages if message.run_id == run_id and message.HasField("update")]
