"""The names of blobs: the digests of their compact JSON, or of their bytes."""

import asyncio
import hashlib
from typing import Final

from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.time_slice import TimeSlice, in_slices
from gateway.core.compact_json import compact, compact_at_once
from gateway.core.long_strings import utf8_parts
from gateway.core.model import Blob

HASHED_AT_ONCE: Final = 128 << 10
"""How much is hashed on the event loop, bytes or characters: some 0.2 ms. For more a thread is worth its while."""

_COMPACTED_AT_ONCE: Final = 2 << 10


async def named(blob: Blob, share: MemoryShare) -> tuple[Blob, str]:
    """A blob as it is stored, JSON in its compact form, and its digest.

    A long one draws from `share` while it is made compact. Raises Overloaded if that leaves no room.
    """
    content = blob.content
    if isinstance(content, str):
        if len(content) <= _COMPACTED_AT_ONCE:
            blob = Blob(compact_at_once(content), blob.type)
        else:
            with share.hold() as hold:
                steps = compact(content, hold) if len(content) > HASHED_AT_ONCE else compact(content)
                blob = blob._replace(content=await in_slices(steps, TimeSlice()))
    return blob, await _sha256(blob.content)


async def _sha256(content: str | bytes) -> str:
    if len(content) <= HASHED_AT_ONCE:
        return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
    # Of long texts, the digest is made without the interpreter's lock.
    return await asyncio.to_thread(_digest_of_long, content)


def _digest_of_long(content: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in utf8_parts(content) if isinstance(content, str) else (content,):
        digest.update(part)
    return digest.hexdigest()
