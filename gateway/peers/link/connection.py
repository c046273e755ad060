"""One end of a link: messages in frames, each with its length before it.

Messages that are sent in one turn of the event loop make one write. Those that arrive are handed over a few in each
turn.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

from msgspec.msgpack import Decoder, Encoder

FRAMES_AT_ONCE: Final = 16
"""How many messages are handed over in a turn of the event loop."""

MOST_UNREAD: Final = 1 << 20
"""The longest frame, in bytes, and how many bytes that have not been handed over stop the reading."""

_LENGTH: Final = 4

_log = logging.getLogger(__name__)

T = TypeVar("T")


class LinkConnection(asyncio.Protocol, Generic[T]):
    """Sends messages of any kind, and hands those that arrive to `receive`.

    `lost` is called when the other end is gone. That is a process of the same gateway: what cannot be read is a defect,
    and closes the connection.
    """

    def __init__(self, messages: type[T]) -> None:
        self.receive: Callable[[T], None] = _ignore
        self.lost: Callable[[], None] = _ignore_loss
        self.resumed: Callable[[], None] = _ignore_loss
        """Called when the other end reads again, after `congested`."""
        self.congested = False
        """Whether the other end reads so slowly that what can wait should."""
        self._writable = asyncio.Event()
        self._writable.set()
        self._decoder: Decoder[T] = Decoder(messages)
        self._encoder = Encoder()
        self._transport: asyncio.Transport | None = None
        self._unsent = bytearray()
        self._unread = bytearray()
        self._reading = True
        self._pumping = False

    async def writable(self) -> None:
        """Wait until the other end reads."""
        await self._writable.wait()

    def send(self, message: Any) -> None:
        """Send a message; nothing happens if the connection is closed. Raises OverflowError if it has huge numbers."""
        unsent = self._unsent
        start = len(unsent)
        if not start:
            asyncio.get_running_loop().call_soon(self._flush)
        try:
            self._encoder.encode_into(message, unsent, start + _LENGTH)
        except BaseException:
            del unsent[start:]
            raise
        unsent[start : start + _LENGTH] = (len(unsent) - start - _LENGTH).to_bytes(_LENGTH, "big")

    def close(self) -> None:
        """Send what is unsent, and close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if len(self._unread) > MOST_UNREAD and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        if not self._pumping:
            self._pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.congested = False
        self._writable.set()
        self.lost()

    def pause_writing(self) -> None:
        self.congested = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.congested = False
        self._writable.set()
        self.resumed()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, bytearray()
        if unsent and self._transport is not None:
            self._transport.write(unsent)

    def _pump(self) -> None:
        """Hand over some messages that have arrived, and the rest in the next turns."""
        self._pumping = False
        try:
            handed_over = self._hand_over()
        except Exception:
            _log.exception("a message on a link cannot be read")
            self.close()
            return
        if handed_over == FRAMES_AT_ONCE:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)
        if not self._reading and len(self._unread) <= MOST_UNREAD and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def _hand_over(self) -> int:
        """Hand over the next messages, and return how many. Raises ValueError if one is too long."""
        unread, start = self._unread, 0
        for number in range(FRAMES_AT_ONCE):
            begin = start + _LENGTH
            size = int.from_bytes(unread[start:begin], "big")
            if size > MOST_UNREAD:
                raise ValueError(f"a frame of {size} bytes")
            end = begin + size
            if begin > len(unread) or end > len(unread):
                del unread[:start]
                return number
            self.receive(self._decoder.decode(unread[begin:end]))
            start = end
        del unread[:start]
        return FRAMES_AT_ONCE


def _ignore(message: object) -> None:
    """Nobody listens yet."""


def _ignore_loss() -> None:
    """Nobody listens yet."""
