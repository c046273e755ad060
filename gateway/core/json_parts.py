"""Long JSON texts, read in turns with everything else: checked, and divided into members and elements.

`checkpoint` is awaited after each step of about `json_walk.WINDOW` characters. Errors are those of `core.json_text`.
"""

import codecs
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import AnyStr, Final, NamedTuple, TypeAlias

from gateway.core.errors import InvalidParams
from gateway.core.json_text import MAX_JSON_BYTES, lone_surrogate, string, too_deep, too_large
from gateway.core.json_walk import WINDOW, JsonWalk
from gateway.core.model import JsonText
from gateway.core.packed_texts import PackedTexts, number_of

LONG_TEXT: Final = 64 << 10
"""The length of texts, in bytes or characters, from which on they are read in turns: shorter ones take half a
millisecond at most."""

MAX_NAME: Final = 64 << 10
"""The longest name of a member, in bytes, in an object that is divided."""

TWICE: Final = "is there twice"
"""What is wrong with a member that is repeated."""

Checkpoint: TypeAlias = Callable[[], Awaitable[None]]

_SPACE: Final = b" \t\n\r"
_NAME: Final = re.compile(rb'[ \t\n\r]*+("(?:[^"\\]++|\\.)*+")[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_DECODED_AT_ONCE: Final = 256 << 10


class NameTooLong(InvalidParams):
    """The name of a member is longer than MAX_NAME."""


class MemberRepeated(InvalidParams):
    """An object has a member twice, where that is refused."""


class Span(NamedTuple):
    """Where a value is in a text."""

    start: int
    stop: int


async def check_json(text: AnyStr, checkpoint: Checkpoint, *path: str | int) -> None:
    """Check that a text, which is not empty, is one JSON value, with white space around it or without."""
    if len(text) > MAX_JSON_BYTES:
        raise too_large(*path)
    walk = JsonWalk(text, 0, len(text), checked=True)
    try:
        while not walk.finished:
            walk.step()
            await checkpoint()
    except InvalidParams as error:
        raise error.under(*path) from None
    except RecursionError:
        raise too_deep(*path) from None


async def long_json_text(text: str, checkpoint: Checkpoint, *path: str | int) -> JsonText:
    """Check a long text as `core.json_text.json_text` does."""
    if not text.isascii():
        size = 0
        for start in range(0, len(text), WINDOW):
            try:
                size += len(text[start : start + WINDOW].encode())
            except UnicodeEncodeError as error:
                place = start + error.start
                raise lone_surrogate(place, *path) from None
            if size > MAX_JSON_BYTES:
                raise too_large(*path)
            await checkpoint()
    await check_json(text, checkpoint, *path)
    return text.strip(" \t\n\r")


def stripped(text: bytes, span: Span) -> Span:
    """A span without the white space around it."""
    start, stop = span
    while start < stop and text[start] in _SPACE:
        start = stop - len(text[start:stop].lstrip(_SPACE)) if stop - start <= WINDOW else _skipped(text, start)
    while start < stop and text[stop - 1] in _SPACE:
        first = max(start, stop - WINDOW)
        stop = first + len(text[first:stop].rstrip(_SPACE))
    return Span(start, stop)


def _skipped(text: bytes, start: int) -> int:
    return start + WINDOW - len(text[start : start + WINDOW].lstrip(_SPACE))


async def decoded(text: bytes, span: Span, checkpoint: Checkpoint, *path: str | int) -> JsonText:
    """The text of a span."""
    start, stop = span
    decoder = codecs.getincrementaldecoder("utf-8")()
    found = ""  # It grows in place, see core.long_strings.
    try:
        for place in range(start, stop, _DECODED_AT_ONCE):
            end = min(place + _DECODED_AT_ONCE, stop)
            found += decoder.decode(text[place:end], end == stop)
            if end < stop:
                await checkpoint()
    except UnicodeDecodeError as error:
        raise InvalidParams.field(*path, description=f"not UTF-8 (byte {place + error.start})") from None
    return found


async def _parts(text: bytes, span: Span, checkpoint: Checkpoint, *, every_comma: bool) -> AsyncIterator[Span]:
    """What stands between the brackets of an object or array, divided at all or at some of its commas."""
    start, stop = span
    walk = JsonWalk(text, start, stop, checked=False, every_comma=every_comma)
    last = start + 1
    while not walk.finished:
        walk.step()
        if walk.cut > last:
            yield Span(last, walk.cut - 1)
            last = walk.cut
        await checkpoint()
    rest = stripped(text, Span(last, stop - 1))
    if rest.start < rest.stop:
        yield rest


async def member_spans(
    text: bytes, span: Span, checkpoint: Checkpoint, most: int, *, once: bool = False
) -> dict[str, Span]:
    """Where the members of an object are that has been checked; of repeated members the last one counts.

    At most so many, and one more if there are more. Raises NameTooLong if a member has a name of more than MAX_NAME
    bytes, MemberRepeated if one is repeated that may be there `once`.
    """
    found: dict[str, Span] = {}
    async for part in _parts(text, span, checkpoint, every_comma=True):
        name = _NAME.match(text, part.start, min(part.stop, part.start + MAX_NAME))
        if name is None:
            raise NameTooLong.field(description=f"a member has a name of more than {MAX_NAME:,} bytes")
        try:
            member = string(name[1].decode())
        except UnicodeDecodeError as error:
            raise InvalidParams.field(description=f"not UTF-8 (byte {name.start(1) + error.start})") from None
        if once and member in found:
            raise MemberRepeated.field(member, description=TWICE)
        found[member] = stripped(text, Span(name.end(), part.stop))
        if len(found) > most:
            break
    return found


async def element_spans(text: bytes, span: Span, checkpoint: Checkpoint, most: int) -> list[Span]:
    """Where the elements of an array are that has been checked: at most so many, and one more if there are more."""
    found: list[Span] = []
    async for part in _parts(text, span, checkpoint, every_comma=True):
        found.append(stripped(text, part))
        if len(found) > most:
            break
    return found


async def element_runs(text: bytes, span: Span, checkpoint: Checkpoint) -> AsyncIterator[Span]:
    """Yield where the elements of an array are that has been checked: several short ones together, with commas between.

    A run that is longer than `json_walk.WINDOW` is one element.
    """
    async for part in _parts(text, span, checkpoint, every_comma=False):
        run = stripped(text, part)
        if run.start < run.stop:
            yield run


async def packed_elements(text: bytes, span: Span, checkpoint: Checkpoint, *path: str | int) -> PackedTexts:
    """The elements of an array that has been checked."""
    packed = PackedTexts()
    async for part in _parts(text, span, checkpoint, every_comma=False):
        content = await decoded(text, stripped(text, part), checkpoint, *path)
        # A piece without a comma that a window finds is one long element.
        packed.append_chunk(content, number_of(f"[{content}]") if len(content) <= WINDOW else 1)
    return packed
