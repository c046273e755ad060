"""Many JSON texts in little memory: a million strings of one digit take 60 MB, and time to build and to free."""

import re
import sys
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from operator import eq
from typing import Final, NamedTuple, overload

from gateway.core.errors import InvalidParams
from gateway.core.json_text import count_elements, elements
from gateway.core.json_walk import WINDOW, JsonWalk
from gateway.core.model import JsonText

CHUNK_TEXT: Final = 8 << 10
"""About how many characters a chunk holds, or one larger text: bounds the work to take it apart."""

_SPACE: Final = " \t\n\r"
_PACKED_AT_ONCE: Final = 256
_NOT_PLAIN: Final = re.compile(r'["\[{ \t\n\r]')
"""What an array does not have in which all commas lie between elements, and nothing else does."""

_CHUNK_BYTES: Final = 100
"""What a chunk takes beside its text: its entries in two lists, and an integer."""


class Chunk(NamedTuple):
    """Some texts, with commas between them. `place` is that of the first one in their sequence."""

    place: int
    text: JsonText
    number: int

    def texts(self) -> list[JsonText]:
        """The texts, taken apart."""
        return [self.text] if self.number == 1 else taken_apart(f"[{self.text}]")


class PackedTexts(Sequence[JsonText]):
    """A sequence of JSON texts, in chunks of about CHUNK_TEXT characters, which are taken apart when they are read."""

    __slots__ = ("_chunks", "_last", "_last_length", "_size", "_starts", "_total")

    def __init__(self) -> None:
        self._chunks: list[JsonText] = []
        self._starts: list[int] = []
        self._total = 0
        self._size = 0
        self._last: list[JsonText] = []
        """Texts that will be the next chunk."""
        self._last_length = 0

    @property
    def size(self) -> int:
        """How many bytes of memory the texts take."""
        self._close_chunk()
        return self._size

    def append(self, text: JsonText) -> None:
        """Append a text."""
        self._last.append(text)
        self._last_length += len(text) + 1
        if self._last_length >= CHUNK_TEXT:
            self._close_chunk()

    def extend(self, texts: Iterable[JsonText]) -> None:
        """Append texts."""
        for text in texts:
            self.append(text)

    def append_chunk(self, text: JsonText, number: int) -> None:
        """Append so many texts, at least one, with commas between them, of about CHUNK_TEXT characters.

        There may be white space around texts, but not around a single one.
        """
        self._close_chunk()
        self._chunks.append(text)
        self._starts.append(self._total)
        self._total += number
        self._size += sys.getsizeof(text) + _CHUNK_BYTES

    def __eq__(self, other: object) -> bool:
        """Whether it holds the same texts as another sequence does."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return self._total + len(self._last)

    def __iter__(self) -> Iterator[JsonText]:
        for chunk in self.chunks():
            yield from chunk.texts()

    def chunks(self) -> Iterator[Chunk]:
        """The texts, as they are kept."""
        self._close_chunk()
        for chunk in range(len(self._chunks)):
            yield self._chunk(chunk)

    @overload
    def __getitem__(self, index: int) -> JsonText: ...

    @overload
    def __getitem__(self, index: slice) -> list[JsonText]: ...

    def __getitem__(self, index: int | slice) -> JsonText | list[JsonText]:
        """A text, or those of a slice whose step is 1: the chunks are taken apart that it lies in."""
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return self._slice(start, stop)
        place = range(len(self))[index]
        return self._slice(place, place + 1)[0]

    def _slice(self, start: int, stop: int) -> list[JsonText]:
        self._close_chunk()
        texts: list[JsonText] = []
        chunk = bisect_right(self._starts, start) - 1
        while start < stop:
            first = self._starts[chunk]
            part = self._chunk(chunk).texts()[start - first : stop - first]
            texts += part
            start += len(part)
            chunk += 1
        return texts

    def _close_chunk(self) -> None:
        if self._last:
            last, self._last = self._last, []
            self._last_length = 0
            self.append_chunk(",".join(last), len(last))

    def _chunk(self, number: int) -> Chunk:
        place = self._starts[number]
        following = self._starts[number + 1] if number + 1 < len(self._starts) else self._total
        return Chunk(place, self._chunks[number], following - place)


def chunks_of(texts: Sequence[JsonText]) -> Iterator[Chunk]:
    """The texts of any sequence in chunks. Between two of these lies little work."""
    if isinstance(texts, PackedTexts):
        yield from texts.chunks()
        return
    for start in range(0, len(texts), _PACKED_AT_ONCE):
        packed = PackedTexts()
        packed.extend(texts[start : start + _PACKED_AT_ONCE])
        for chunk in packed.chunks():
            yield chunk._replace(place=start + chunk.place)


def number_of(array: JsonText) -> int:
    """How many elements an array has that is not empty."""
    if not _NOT_PLAIN.search(array, 1):
        return array.count(",") + 1
    try:
        return count_elements(array)
    except InvalidParams:
        return len(taken_apart(array))


def taken_apart(array: JsonText) -> list[JsonText]:
    """The elements of an array, which may nest as deeply as any text."""
    if not _NOT_PLAIN.search(array, 1):
        return array[1:-1].split(",")
    try:
        return elements(array)
    except InvalidParams:
        # The parser counts the levels of the array itself, and those of the calls that are under way here.
        return [text for text in _parts(array, every_comma=True) if text]


def packed_array(array: JsonText) -> Generator[None, None, PackedTexts]:
    """The elements of an array of any length, in steps."""
    packed = PackedTexts()
    for part in _parts(array, every_comma=False):
        if part:
            # What is longer than a window is one element.
            packed.append_chunk(part, number_of(f"[{part}]") if len(part) <= WINDOW else 1)
        yield
    return packed


def _parts(array: JsonText, *, every_comma: bool) -> Iterator[JsonText]:
    """What stands between some of the commas of an array, or between all of them; "" after a step without any."""
    walk = JsonWalk(array, 0, len(array), checked=False, every_comma=every_comma)
    start = 1
    while not walk.finished:
        walk.step()
        if walk.cut > start:
            yield array[start : walk.cut - 1].strip(_SPACE)
            start = walk.cut
        else:
            yield ""
    yield array[start:-1].strip(_SPACE)
