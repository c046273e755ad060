"""Bodies of gRPC-Web as text: base64, in pieces that may each be padded."""

import binascii
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gateway.concurrency.time_slice import Checkpoints
from gateway.core.errors import InvalidRequest

AT_ONCE: Final = 1 << 10
"""How many bytes are decoded at once if some are padded: each four may be a piece, and as slow as a long one."""

_PIECE: Final = re.compile(rb"[^=]+={0,2}")


async def decoded(chunks: AsyncGenerator[bytes, None], pace: Checkpoints) -> AsyncGenerator[bytes, None]:
    """Yield what chunks of base64 stand for, at the checkpoints of `pace`. `chunks` is closed.

    Raises InvalidRequest if they are malformed.
    """
    rest = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            text = rest + chunk
            whole = len(text) - len(text) % 4
            rest = text[whole:]
            at_once = AT_ONCE if b"=" in text else len(text)
            for start in range(0, whole, at_once):
                yield _decoded(text[start : min(start + at_once, whole)])
                await pace.checkpoint()
    if rest:
        raise InvalidRequest("the body ends within a group of base64")


def _decoded(text: bytes) -> bytes:
    try:
        if b"=" not in text:
            return binascii.a2b_base64(text, strict_mode=True)
        pieces = _PIECE.findall(text)
        if sum(map(len, pieces)) == len(text):  # Nothing is padded without anything before.
            return b"".join(binascii.a2b_base64(piece, strict_mode=True) for piece in pieces)
    except binascii.Error:
        pass
    raise InvalidRequest("the body is no base64")
