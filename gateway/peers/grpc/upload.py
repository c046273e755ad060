"""Uploads: a submit whose inputs are sent in several messages.

When grpc fails to send after the answer has come, it puts an error of its own in the place of the answer
(https://github.com/grpc/grpc/issues/36066), unless the sending is cancelled before it notices.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final

from grpc import aio

from gateway.core.model import JsonText
from runs.v1 import runs_pb2

PART_BYTES: Final = 1 << 20
"""The inputs of one message have at most this many bytes, unless a single one has more."""

PART_LENGTH: Final = 4_096
"""The most inputs in one message."""


PART_SECONDS: Final = 10.0
"""Inputs that come slowly are sent after so many seconds, since servers end uploads that do not go on."""


class UploadParts:
    """Collects inputs into the messages of an upload; the first message also holds `parameters`."""

    def __init__(self, parameters: runs_pb2.SubmitRunRequest, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._message = runs_pb2.SubmitRunStreamRequest(parameters=parameters)
        self._size = 0
        self._clock = clock
        self._due = clock() + PART_SECONDS

    def add(self, text: JsonText) -> runs_pb2.SubmitRunStreamRequest | None:
        """Add an input. Return the message before it if that is full or due, None otherwise."""
        size = text_bytes(text)
        full = self._size and (
            self._size + size > PART_BYTES or len(self._message.inputs) == PART_LENGTH or self._clock() >= self._due
        )
        message = self.rest() if full else None
        self._message.inputs.add().json = text
        self._size += size
        return message

    def rest(self) -> runs_pb2.SubmitRunStreamRequest:
        """Return the last message, with the inputs since the last full one."""
        message, self._message, self._size = self._message, runs_pb2.SubmitRunStreamRequest(), 0
        self._due = self._clock() + PART_SECONDS
        return message


def upload_parts(
    parameters: runs_pb2.SubmitRunRequest, inputs: Iterable[JsonText]
) -> Iterator[runs_pb2.SubmitRunStreamRequest]:
    """Yield the messages of an upload."""
    parts = UploadParts(parameters)
    for text in inputs:
        if (message := parts.add(text)) is not None:
            yield message
    yield parts.rest()


def text_bytes(text: JsonText) -> int:
    """Return how many bytes a text takes in a message."""
    return len(text) if text.isascii() else len(text.encode())


class UploadSender:
    """The sending side of an upload; the sending is given up at once when the call has ended.

    `send` and `finish` return False if the call has ended: its answer says why.
    """

    def __init__(
        self, call: "aio.StreamUnaryCall[runs_pb2.SubmitRunStreamRequest, runs_pb2.SubmitRunResponse]"
    ) -> None:
        self._call = call
        self._sending: asyncio.Task[None] | None = None
        call.add_done_callback(self._give_up)

    async def send(self, part: runs_pb2.SubmitRunStreamRequest) -> bool:
        """Send a message."""
        return await self._sent(self._call.write(part))

    async def finish(self) -> bool:
        """Tell the server that there are no more messages."""
        return await self._sent(self._call.done_writing())

    async def _sent(self, sending: Coroutine[Any, Any, None]) -> bool:
        self._sending = asyncio.create_task(sending)
        try:
            await self._sending
        except (aio.AioRpcError, aio.InternalError, asyncio.InvalidStateError):
            return False
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False
        return True

    def _give_up(self, _: object) -> None:
        if self._sending is not None:
            self._sending.cancel()
