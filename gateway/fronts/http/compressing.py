"""Answers in gzip or zstd, for clients that ask for them.

Only long answers are worth it, and event streams are never encoded: each event has to leave at once, and is small.
"""

import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from multidict import CIMultiDictProxy

from gateway.concurrency.fair_queue import FairQueue
from gateway.fronts.http.expanding import zstd
from gateway.fronts.http.preferences import ranks

MIN_BYTES: Final = 16 << 10
"""Shorter answers are sent as they are."""

_LONGEST_HEADER: Final = 1_000
_LEVEL: Final = 1
_WINDOW_LOG: Final = 17
_GZIP: Final = 31
_SLICE: Final = 32 << 10
"""How much is compressed at once, in bytes: less than a millisecond of gzip."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Coding(NamedTuple):
    """A way to encode answers. `memory` is what encoding one takes, in bytes."""

    name: str
    memory: int
    start: Callable[[], _Compressor]


def _start_zstd() -> Any:
    parameter = zstd().CompressionParameter
    return zstd().ZstdCompressor(options={parameter.compression_level: _LEVEL, parameter.window_log: _WINDOW_LOG})


_CODINGS: Final = {
    "zstd": Coding("zstd", 1 << 20, _start_zstd),
    "gzip": Coding("gzip", 1 << 18, lambda: zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)),
}
"""The first one is taken if a client ranks both equally: it takes a third of the time."""


def coding_of_answer(headers: CIMultiDictProxy[str]) -> Coding | None:
    """How a client wants a long answer to be encoded; None if as it is, or in no way that there is."""
    return coding_by_header(headers, "Accept-Encoding")


def coding_by_header(headers: CIMultiDictProxy[str], header: str) -> Coding | None:
    """The same, where a protocol has a header of its own for that."""
    if header not in headers:
        return None
    return _preferred(",".join(headers.getall(header))[:_LONGEST_HEADER])


async def compressed(
    parts: AsyncGenerator[bytes, None], coding: Coding, fair_queue: FairQueue
) -> AsyncGenerator[bytes, None]:
    """Yield parts, encoded, in slices that pass `fair_queue`. `parts` is closed. Close it explicitly."""
    compressor = coding.start()
    async with aclosing(parts):
        async for part in parts:
            for start in range(0, len(part), _SLICE):
                await fair_queue.yield_turn()
                if piece := compressor.compress(part[start : start + _SLICE]):
                    yield piece
            del part
    yield compressor.flush()


@lru_cache(maxsize=64)
def _preferred(accepted: str) -> Coding | None:
    rank = ranks(accepted)
    # `*` stands for any coding, but few who say so know zstd.
    codings = {"zstd": rank.get("zstd", 0.0), "gzip": rank.get("gzip", rank.get("x-gzip", rank.get("*", 0.0)))}
    best = max(codings, key=lambda name: codings[name])
    return _CODINGS[best] if codings[best] > 0 and codings[best] >= rank.get("identity", 0.0) else None
