"""Messages in frames, as streams of Connect and gRPC-Web have them: flags, length, content."""

import struct
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from gateway.core.errors import InvalidRequest, TooLarge
from gateway.fronts.http.expanded_content import Holder

COMPRESSED: Final = 0x01
"""The flag of a message that is compressed."""

_HEAD: Final = struct.Struct(">BI")


class Frame(NamedTuple):
    """A frame that has come."""

    flags: int
    content: bytes


def frame(content: bytes, flags: int = 0) -> bytes:
    """A frame as it is written."""
    return frame_head(len(content), flags) + content


def frame_head(length: int, flags: int = 0) -> bytes:
    """What stands before the content of a frame."""
    return _HEAD.pack(flags, length)


class FrameReader:
    """Reads frames out of the chunks of a body. A frame has at most `most` bytes, without its head.

    `held` grows by what comes, before more is read. The content of a frame that is returned stays held.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], most: int, held: Holder) -> None:
        self._chunks = chunks
        self._most = most
        self._held = held
        self._buffer = bytearray()

    async def next(self) -> Frame | None:
        """The next frame; None at the end. Raises InvalidRequest if the body ends within one, and TooLarge."""
        if not await self._fill(_HEAD.size):
            if self._buffer:
                raise InvalidRequest("the body ends within a message")
            return None
        flags, length = _HEAD.unpack_from(self._buffer)
        if length > self._most:
            raise TooLarge(f"a message is larger than {self._most} bytes")
        stop = _HEAD.size + length
        if not await self._fill(stop):
            raise InvalidRequest("the body ends within a message")
        content = bytes(memoryview(self._buffer)[_HEAD.size : stop])
        del self._buffer[:stop]
        self._held.shrink(_HEAD.size)
        return Frame(flags, content)

    async def ended(self) -> bool:
        """Whether the body ends after the frames that were returned."""
        return not await self._fill(1)

    async def close(self) -> None:
        """Read no more."""
        await self._chunks.aclose()

    async def _fill(self, size: int) -> bool:
        """Read until there are so many bytes; False if the body ends before."""
        while len(self._buffer) < size:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                return False
            self._held.grow(len(chunk))
            self._buffer += chunk
        return True
