"""Bodies of requests that are encoded by gzip or zstd, expanded in small pieces."""

import importlib
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, Protocol

from gateway.core.errors import ParseError
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import UnsupportedContentCoding

PIECE: Final = 64 << 10
"""The most that is expanded at once, in bytes."""

MAX_MEMBERS: Final = 1_000
"""The most members of gzip, or frames of zstd, in one body. Each costs time, however little it holds."""

_STEP: Final = 8 << 10
"""How many encoded bytes are looked at before others may have their turn."""

_GZIP: Final = 31
"""What zlib calls gzip: the largest window, and a header and trailer of gzip."""

_WINDOW_LOG: Final = 23
"""Windows of zstd are at most 8 MiB, as HTTP demands."""


class _Stream(Protocol):
    """One member or frame that is being expanded."""

    @property
    def eof(self) -> bool:
        """Whether its end has come."""

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""

    def expand(self, data: bytes) -> bytes:
        """Expand at most a piece; the rest follows with the next calls. Raises ParseError if it is malformed."""

    @property
    def more(self) -> bool:
        """Whether a call without data would expand more."""


class Expander:
    """Expands a body. `window` is how much it holds of what it has expanded, at most."""

    def __init__(self, stream: Callable[[], _Stream], window: int) -> None:
        self.window = window
        self._new_stream = stream
        self._stream: _Stream | None = None
        self._members = 0

    def expand(self, data: bytes) -> Iterator[bytes]:
        """Yield pieces of at most PIECE bytes, empty ones included. Raises ParseError if the body is malformed."""
        for start in range(0, len(data), _STEP):
            rest = data[start : start + _STEP]
            while rest:
                stream = self._stream or self._begin()
                piece = stream.expand(rest)
                while stream.more:
                    yield piece
                    piece = stream.expand(b"")
                rest = b""
                if stream.eof:
                    rest, self._stream = stream.unused_data, None
                yield piece

    def end(self) -> None:
        """The body ends here. Raises ParseError if it is not complete."""
        if self._stream is not None or not self._members:
            raise ParseError("the body ends too early")

    def _begin(self) -> _Stream:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise ParseError(f"the body consists of more than {MAX_MEMBERS:,} encoded parts")
        self._stream = self._new_stream()
        return self._stream


def expander_of(request: HttpRequest) -> Expander | None:
    """What expands the body of a request; None if it is not encoded.

    Raises UnsupportedContentCoding if it is encoded more than once, or in another way.
    """
    if "Content-Encoding" not in request.headers:
        return None
    return expander_by_name(",".join(request.headers.getall("Content-Encoding")))


def expander_by_name(codings: str, named: str = "content-encoding") -> Expander | None:
    """What expands that to which codings were applied; None if none was. Raises UnsupportedContentCoding.

    `named` is what the error calls the header, or the parameter, that has them.
    """
    listed = (coding.strip() for coding in codings.lower().split(","))
    applied = [coding for coding in listed if coding not in ("", "identity")]
    if not applied:
        return None
    if applied in (["gzip"], ["x-gzip"]):
        return Expander(_GzipStream, 0)
    if applied == ["zstd"]:
        return Expander(_ZstdStream, 1 << _WINDOW_LOG)
    raise UnsupportedContentCoding(f"expected {named} gzip or zstd, or none")


@cache
def zstd() -> Any:
    """The module of zstd, which is imported when it is first used."""
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


class _GzipStream:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @property
    def more(self) -> bool:
        return not self._stream.eof and (self._full or bool(self._stream.unconsumed_tail))

    def expand(self, data: bytes) -> bytes:
        try:
            piece = self._stream.decompress(self._stream.unconsumed_tail + data, PIECE)
        except zlib.error as error:
            raise _malformed(error) from None
        self._full = len(piece) == PIECE
        return piece


class _ZstdStream:
    def __init__(self) -> None:
        limit = {zstd().DecompressionParameter.window_log_max: _WINDOW_LOG}
        self._stream = zstd().ZstdDecompressor(options=limit)

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        data: bytes = self._stream.unused_data
        return data

    @property
    def more(self) -> bool:
        return not self._stream.eof and not self._stream.needs_input

    def expand(self, data: bytes) -> bytes:
        try:
            piece: bytes = self._stream.decompress(data, PIECE)
        except zstd().ZstdError as error:
            raise _malformed(error) from None
        return piece


def _malformed(error: Exception) -> ParseError:
    return ParseError(f"the body is encoded wrongly: {error}")
