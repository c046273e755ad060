"""Heads of requests that came before: a client repeats its head, byte for byte, and it need not be parsed again."""

from typing import Any, Final, NamedTuple

from aiohttp import StreamReader, hdrs
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

_KNOWN: Final = 256
"""How many heads are kept."""

_LONGEST: Final = 1 << 10
"""The longest head that is kept, in bytes."""

END_OF_HEAD: Final = b"\r\n\r\n"
_UNUSUAL: Final = (hdrs.TRANSFER_ENCODING, hdrs.EXPECT, hdrs.UPGRADE)


class WholeBody(StreamReader):
    """A body that has come as a whole. Nothing waits for more of it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.total_bytes = len(content)

    def is_eof(self) -> bool:
        return True

    def read_nowait(self, n: int = -1) -> bytes:
        """All of it, once."""
        content, self._content = self._content, b""
        return content

    async def readany(self) -> bytes:
        return self.read_nowait()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Nothing of it is missing."""


class _Known(NamedTuple):
    message: RawRequestMessage
    length: int


class KnownHeads:
    """The heads of requests that the parser has read, if nothing but Content-Length tells where these end.

    What begins a request can be looked up here, and nothing else: the same bytes mean something else in a body.
    """

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, _Known] = {}

    def find(self, data: bytes) -> tuple[RawRequestMessage, WholeBody] | None:
        """The request that `data` is, if it is a whole one and its head is known."""
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        known = self._heads.get(data[:end])
        if known is None or len(data) != end + known.length:
            return None
        return known.message, WholeBody(data[end:])

    def missing(self, data: bytes, message: RawRequestMessage) -> int | None:
        """How many bytes are missing of the request that begins with `data`; None if that is not known.

        `message` is what the parser has read. Its head is kept if it is short.
        """
        headers: CIMultiDictProxy[Any] = message.headers
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        length = headers.get(hdrs.CONTENT_LENGTH, "")
        if end < len(END_OF_HEAD) or not length.isdecimal() or any(name in headers for name in _UNUSUAL):
            return None
        if message.should_close:
            return None  # Nothing may follow it.
        missing = end + int(length) - len(data)
        if missing < 0:
            return None
        if end <= _LONGEST:
            if len(self._heads) >= _KNOWN:
                self._heads.clear()
            self._heads[data[:end]] = _Known(message, int(length))
        return missing
