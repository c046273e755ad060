"""Long answers, which are never held as a whole: their text is made in pieces, as the client reads it.

Their memory is drawn before they begin: what does not fit is refused while an error can still be told. An answer that
fails later is cut, since nothing else can tell of it any more.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from msgspec.structs import replace

from gateway.adapter import blobs_json, status_to_json
from gateway.concurrency.fair_queue import FairQueue
from gateway.core.model import Blob, ItemResult, JsonText, RunStatus
from gateway.core.runtime import memory_size
from gateway.runs.run_answer import ResultPages
from gateway.runs.service import RunsService

PART: Final = 64 << 10
"""About how long a part is that is written at once, in characters. A text that is not longer is no long text."""

IN_FLIGHT: Final = 2 * PART
"""What the part on its way to the client takes in memory, in bytes."""


class Held(Protocol):
    """Counts the memory that a call takes."""

    @property
    def size(self) -> int:
        """How much it is, in bytes."""

    def grow(self, size: int) -> None:
        """Take more. Raises Overloaded if there is no room for it."""

    def shrink(self, size: int) -> None:
        """Take less."""


class LongText(ABC):
    """A text that is made while it is read."""

    shared = 0
    """How many bytes of its pieces are held anyway, and have been drawn."""

    @property
    def content_length(self) -> int | None:
        """How long it is, in bytes of UTF-8; None if that is not known."""
        return None

    @abstractmethod
    def pieces(self) -> AsyncGenerator[JsonText, None]:
        """Yield the text, once. A piece may be long: then it is one that is held anyway. Close it explicitly."""

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Yield the text in UTF-8, in parts of about the same length. Close it explicitly."""
        short: list[str] = []
        size = 0
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                if len(piece) < PART:
                    short.append(piece)
                    size += len(piece)
                if short and (size >= PART or len(piece) >= PART):
                    yield "".join(short).encode()
                    short.clear()
                    size = 0
                if len(piece) >= PART:
                    for start in range(0, len(piece), PART):
                        yield piece[start : start + PART].encode()
                del piece  # The next one may be far away.
        yield "".join(short).encode()


class Enclosed(LongText):
    """A text with another one before and after it."""

    def __init__(self, before: JsonText, text: LongText, after: JsonText) -> None:
        self._before, self._text, self._after = before, text, after
        self.shared = text.shared

    @property
    def content_length(self) -> int | None:
        length = self._text.content_length
        return None if length is None else len(self._before.encode()) + length + len(self._after.encode())

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        yield self._before
        async with aclosing(self._text.pieces()) as pieces:
            async for piece in pieces:
                yield piece
                del piece
        yield self._after


class BlobText(LongText):
    """A blob as JSON."""

    def __init__(self, blob: Blob, blob_id: str, fair_queue: FairQueue) -> None:
        self._blob = blob
        if isinstance(blob.content, str):
            self.shared = sys.getsizeof(blob.content)
        self._blob_id = blob_id
        self._fair_queue = fair_queue

    @property
    def content_length(self) -> int | None:
        return blobs_json.blob_json_size(self._blob, self._blob_id)

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        for piece in blobs_json.blob_to_json_pieces(self._blob, self._blob_id):
            await self._fair_queue.yield_turn()
            yield piece


class StatusText(LongText):
    """A status with results, of which a page is held, or a single large one. `held` grows by it, and may be refused."""

    def __init__(
        self, status: RunStatus, page: list[ItemResult], following: ResultPages, held: Held, fair_queue: FairQueue
    ) -> None:
        """The results begin with `page`. Raises Overloaded if there is no room for it."""
        self._held = held
        self._page_size = 0
        self._make_room(page)
        self._status = replace(status, results=[])
        self._page = page
        self._following = following
        self._fair_queue = fair_queue

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        opening, closing = status_to_json.around_results(self._status)
        yield opening
        page, self._page = self._page, []
        comma = ""
        while page:
            for part in status_to_json.result_slices(page):
                await self._fair_queue.yield_turn()
                yield comma
                comma = ","
                results = page[part]
                if status_to_json.is_large(results):
                    for piece in status_to_json.result_pieces(results[0]):
                        yield piece
                    del piece
                else:
                    yield status_to_json.results_to_json(results)
                del results
            page = []  # The next one takes its place.
            page = await self._following.next()
            self._make_room(page)
        yield closing

    def _make_room(self, page: list[ItemResult]) -> None:
        size = memory_size(page)
        if size > self._page_size:
            self._held.grow(size - self._page_size)
            self._page_size = size


async def encoded(content: JsonText | bytes) -> AsyncGenerator[bytes, None]:
    """Yield a content in parts."""
    for start in range(0, len(content), PART):
        part = content[start : start + PART]
        yield part.encode() if isinstance(part, str) else part


async def read_blob(service: RunsService, blob_id: str, held: Held) -> Blob:
    """Read a blob for an answer. `held` grows by it if it is long, before it is read if its length is known by then.

    Raises Overloaded if there is no room for it, and what the service raises.
    """
    drawn = 0

    async def admit(length: int) -> None:
        nonlocal drawn
        held.grow(IN_FLIGHT + length)
        drawn = IN_FLIGHT + length

    blob = await service.get_blob(blob_id, admit)
    if is_long(blob):
        held.grow(max(0, IN_FLIGHT + sys.getsizeof(blob.content) - drawn))
    return blob


def is_long(blob: Blob) -> bool:
    """Whether a blob is answered by a long text."""
    return len(blob.content) > PART
