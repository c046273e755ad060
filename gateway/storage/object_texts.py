"""Texts as the bytes of objects, and back. Of long ones, nothing is done at once that holds the event loop."""

import asyncio
import codecs
from collections.abc import Generator
from typing import Final

from gateway.concurrency.memory_account import MemoryHold
from gateway.concurrency.time_slice import TimeSlice, in_slices
from gateway.core.long_strings import PART

_SHORT: Final = 64 << 10
_PART: Final = 64 << 10
"""How much is translated at once, characters or bytes: wide ones take half a millisecond for more."""


async def to_bytes(text: str, hold: MemoryHold, before: bytes = b"") -> bytes:
    """The bytes of a text, behind some others. Raises Overloaded if `hold` leaves no room for them."""
    if len(text) <= _SHORT:
        return before + text.encode()
    parts = await in_slices(_encoded(text, before, hold), TimeSlice())
    # Of long ones, this is done without the interpreter's lock.
    return await asyncio.to_thread(b"".join, parts)


async def from_bytes(data: bytes, start: int = 0) -> str:
    """The text that bytes are from `start` on. Raises UnicodeDecodeError if they are none."""
    if len(data) <= _SHORT:
        return data[start:].decode()
    return await in_slices(_decoded(data, start), TimeSlice())


async def rest_of(data: bytes, start: int) -> bytes:
    """The bytes from `start` on."""
    if len(data) <= _SHORT:
        return data[start:]
    return await asyncio.to_thread(b"".join, await in_slices(_copied(data, start), TimeSlice()))


def _copied(data: bytes, start: int) -> Generator[None, None, list[bytes]]:
    parts = []
    for at in range(start, len(data), PART):
        parts.append(data[at : at + PART])
        yield
    return parts


def _encoded(text: str, before: bytes, hold: MemoryHold) -> Generator[None, None, list[bytes]]:
    parts = [before]
    for start in range(0, len(text), _PART):
        part = text[start : start + _PART].encode()
        hold.grow(2 * len(part))
        parts.append(part)
        yield
    return parts


def _decoded(data: bytes, start: int) -> Generator[None, None, str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    text = ""
    with memoryview(data) as view:
        for at in range(start, len(data), _PART):
            text += decoder.decode(view[at : at + _PART])
            yield
    return text + decoder.decode(b"", final=True)
