"""A call over HTTP, as the methods of servicers see it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final, Never

import grpc
from grpc import aio

from gateway.adapter.message_json import Hold
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.fronts.grpc.calls import Trailers
from gateway.fronts.grpc.connections import CallMemory
from gateway.fronts.grpc.entrance import Metadata
from gateway.fronts.web.answer_stream import AnswerStream
from gateway.fronts.web.call_hold import CallHold
from gateway.fronts.web.requests import RequestMessages
from gateway.fronts.web.web_method import WebMethod
from gateway.fronts.web.wires import Wire
from gateway.telemetry.observed_calls import ObservedCall

_YIELD_BYTES: Final = 16 << 10
"""The size of a message of a stream after which other calls have their turn."""


class WebAbort(aio.AbortError):
    """Ends a method."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Trailers) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailers = trailers


class WebContext:
    """The part of `aio.ServicerContext` that the methods of the gateway's servicers need, for one call of `method`.

    `remaining` is the time until its deadline, in seconds, if it has one. `open` is called before anything is read.
    """

    __slots__ = (
        "_deadline",
        "_fair_queue",
        "_memory",
        "_messages",
        "_peer",
        "_stream",
        "call",
        "method",
        "size",
        "wire",
    )

    def __init__(self, method: WebMethod, wire: Wire, call: ObservedCall, peer: str, remaining: float | None) -> None:
        self.method = method
        self.wire = wire
        self.call = call
        self._peer = peer
        self.size = 0
        """How many bytes the latest request has in the form of servicers."""
        self._deadline = None if remaining is None else time.monotonic() + remaining
        self._messages: RequestMessages | None = None
        self._stream: AnswerStream | None = None

    def open(
        self, messages: RequestMessages, stream: AnswerStream | None, memory: CallMemory, fair_queue: FairQueue
    ) -> None:
        """Requests are `messages`; answers are written to `stream`, if there may be many.

        What the forms of a message take is counted in `memory`, and work on long ones passes `fair_queue`.
        """
        self._memory = memory
        self._fair_queue = fair_queue
        self._messages = messages
        self._stream = stream

    def peer(self) -> str:
        """The address of the client, with its port, as gRPC writes it."""
        return self._peer

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None if there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    async def read(self) -> Any:
        """The next request; `aio.EOF` if there are no more. Raises GatewayError if it is none."""
        assert self._messages is not None
        data = await (self._messages.next() if self.method.takes_many else self._messages.only())
        if data is None:
            return aio.EOF
        self.call.received(len(data))
        form = self.wire.form
        if not form.as_it_is:
            with CallHold(self._memory) as hold:
                data = await form.read(data, self.method.request, FairSlices(self._fair_queue), hold.grow)
        self.size = len(data)
        message = self.method.deserialize(data)
        self._messages.release()
        return message

    async def requests(self) -> AsyncIterator[Any]:
        """All requests of a stream."""
        while (request := await self.read()) is not aio.EOF:
            yield request

    async def write(self, message: Any) -> None:
        """Send an answer of a stream, when what was sent before has left this process."""
        assert self._stream is not None
        with CallHold(self._memory) as hold:
            data = await self.written(message, hold.grow)
            del message
            size = len(data)
            self.call.sent(size)
            sending = self._stream.send(data)
            del data
            await sending
        if size > _YIELD_BYTES:
            await asyncio.sleep(0)

    async def written(self, message: Any, hold: Hold) -> bytes:
        """An answer as it is sent, for which `hold` holds what the servicer does not count."""
        form = self.wire.form
        data = self.method.serialize(message)
        del message
        return (
            data if form.as_it_is else await form.write(data, self.method.response, FairSlices(self._fair_queue), hold)
        )

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Do nothing: the head of the answer is sent with what follows it."""

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailers = ()) -> Never:
        """End the call with a status."""
        raise WebAbort(code, details, trailing_metadata)
