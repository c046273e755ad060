"""The messages of a request, as they come: in frames, as a whole body, or in the query of a GET."""

import asyncio
import binascii
import re
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator
from typing import Final, Protocol

from aiohttp.web import RequestPayloadError

from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.concurrency.memory_account import MemoryHold
from gateway.core.errors import InvalidRequest
from gateway.fronts.grpc.connections import CallMemory
from gateway.fronts.http.connection import BodyTooScattered
from gateway.fronts.http.expanded_content import ExpandedContent, Holder
from gateway.fronts.http.expanding import Expander, expander_by_name, expander_of
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.request_body import invite_body, read_request_body
from gateway.fronts.http.responses import UnsupportedContentCoding
from gateway.fronts.web.base64_text import decoded
from gateway.fronts.web.call_hold import CallHold
from gateway.fronts.web.frames import COMPRESSED, FrameReader
from gateway.fronts.web.query import check_utf8, parameter
from gateway.fronts.web.wires import Wire

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


class RequestMessages(Protocol):
    """The messages of one request."""

    async def only(self) -> bytes | None:
        """The one message; None if there is none. Raises GatewayError if it is not taken, or if more follows it."""

    async def next(self) -> bytes | None:
        """The next message; None if there are no more. Raises GatewayError if it is not taken."""

    def release(self) -> None:
        """The message that was returned last is not needed any more: hold nothing for it."""

    async def close(self) -> None:
        """Read no more, and hold nothing."""


class OneMessage:
    """The body of a request, or its query, is its one message. What is held of it is counted by `held`."""

    def __init__(self, request: HttpRequest, held: MemoryHold, limits: HttpLimits, fair_queue: FairQueue) -> None:
        self._request: HttpRequest | None = request
        self._held = held
        self._limits = limits
        self._fair_queue = fair_queue

    async def only(self) -> bytes | None:
        """The message."""
        return await self.next()

    async def next(self) -> bytes | None:
        """The message, once."""
        request, self._request = self._request, None
        if request is None:
            return None
        if request.method == "GET":
            message, expander = _in_query(request)
            if expander is None:
                return message
            return await _expanded(message, expander, self._limits.body, self._held, self._fair_queue)
        return await read_request_body(request, self._held, self._limits, self._fair_queue)

    def release(self) -> None:
        """Hold nothing."""
        self._held.shrink(self._held.size)

    async def close(self) -> None:
        """Nothing is open."""
        self.release()


class FramedMessages:
    """The body of a request is a stream of frames. What is held of them is counted for the call, in `memory`.

    Making it raises UnsupportedContentCoding if the body is compressed as a whole.
    """

    def __init__(
        self, request: HttpRequest, wire: Wire, memory: CallMemory, limits: HttpLimits, fair_queue: FairQueue
    ) -> None:
        if expander_of(request) is not None:
            raise UnsupportedContentCoding("messages in frames are compressed one by one, and not the body")
        if not request.content.is_eof():
            invite_body(request)
        chunks = _chunks(request)
        self._held = CallHold(memory)
        self._message = 0
        """How many bytes are held for the message that was returned last."""
        self._slices = FairSlices(fair_queue)
        content = decoded(chunks, self._slices) if wire.is_text else chunks
        self._frames = FrameReader(content, limits.body, self._held)
        self._most = limits.body
        self._fair_queue = fair_queue
        self._coding_header = wire.coding_header
        self._coding = ",".join(request.headers.getall(wire.coding_header, ()))

    async def only(self) -> bytes | None:
        """The message of the one frame."""
        message = await self.next()
        if message is not None and not await self._frames.ended():
            raise InvalidRequest("expected one message, and nothing after it")
        return message

    async def next(self) -> bytes | None:
        """The message of the next frame."""
        self.release()
        await self._slices.checkpoint()  # A piece of the body may hold thousands of frames.
        frame = await self._frames.next()
        if frame is None:
            return None
        if frame.flags & ~COMPRESSED:
            raise InvalidRequest("a frame has flags that no request may have")
        content = frame.content
        if frame.flags:
            content = await self._expanded(content)
        self._message = len(content)
        return content

    async def _expanded(self, encoded: bytes) -> bytes:
        expander = expander_by_name(self._coding, self._coding_header)
        if expander is None:
            raise InvalidRequest("a message is compressed, and no header tells how")
        content = await _expanded(encoded, expander, self._most, self._held, self._fair_queue)
        self._held.shrink(len(encoded))
        return content

    def release(self) -> None:
        """The frames behind the message that have come stay held."""
        self._held.shrink(self._message)
        self._message = 0

    async def close(self) -> None:
        """Read no more, and hold nothing."""
        await self._frames.close()
        self._held.release()


async def _chunks(request: HttpRequest) -> AsyncGenerator[bytes, None]:
    """Yield a body as it comes. A stream may take any time; who waits for one message sees to that itself."""
    try:
        while chunk := await request.content.readany():
            yield chunk
    except asyncio.CancelledError:
        request.stalled = True  # Who waits for it has lost patience, or its deadline has passed.
        raise
    except BodyTooScattered:
        raise InvalidRequest("the chunks of the body are too small, or have too much around them") from None
    except (RequestPayloadError, ConnectionError):
        raise InvalidRequest("the body ends too early or is encoded wrongly") from None


async def _expanded(encoded: bytes, expander: Expander, most: int, held: Holder, fair_queue: FairQueue) -> bytes:
    if not encoded:
        return b""  # An empty message is not compressed, whatever its flag or a header says.
    content = ExpandedContent(expander, most, held, fair_queue, "a message")
    await content.add(encoded)
    return content.ended()


def _in_query(request: HttpRequest) -> tuple[bytes, Expander | None]:
    """The message in the query of a GET, and what expands it."""
    message = parameter(request, "message")
    if message is None:
        raise InvalidRequest("message: expected in the query, once")
    expander = expander_by_name(parameter(request, "compression") or "", "compression")
    match parameter(request, "base64"):
        case None | "0":
            check_utf8(request)
            return message.encode(), expander
        case "1":
            return _from_base64(message), expander
    raise InvalidRequest("base64: expected 1 or 0")


def _from_base64(message: str) -> bytes:
    if _BASE64.fullmatch(message) is None:
        raise InvalidRequest("message: expected base64")
    text = message.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise InvalidRequest("message: expected base64") from None
