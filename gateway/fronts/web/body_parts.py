"""Bodies in parts: a long one is not written at once, nor made base64."""

from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator
from typing import Final

PART: Final = 192 << 10
"""About how many bytes are written at once: whole groups of base64."""


def body_parts(body: bytes, *, is_text: bool) -> Iterator[bytes]:
    """Cut a body into parts, which are base64 if it `is_text`, each padded by itself at most at the end."""
    if len(body) <= PART:
        yield b64encode(body) if is_text else body
        return
    for start in range(0, len(body), PART):
        part = body[start : start + PART]
        yield b64encode(part) if is_text else part


async def later_parts(parts: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield parts, each made when it is asked for."""
    for part in parts:
        yield part
