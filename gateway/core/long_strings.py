"""Long strings in parts: put together, and to and from UTF-8. As a whole, this holds the interpreter for a tenth of a
second.

A string that nothing else refers to grows in place when another one is added to it, in all versions of CPython that the
gateway runs on: for long ones, the system moves pages and copies nothing. Only a character that is wider than all
before it has the string copied.
"""

import codecs
from collections.abc import Generator, Iterable, Iterator
from typing import Final

PART: Final = 256 << 10
"""How many characters or bytes are converted at once: some 0.2 ms."""

_FEW: Final = 2_048
"""How many strings are put together at once."""


def utf8_parts(text: str) -> Iterator[bytes]:
    """The bytes of a string, in parts."""
    for start in range(0, len(text), PART):
        yield text[start : start + PART].encode()


def utf8_length(text: str) -> int:
    """How many bytes a string has."""
    return len(text) if text.isascii() else sum(map(len, utf8_parts(text)))


def from_utf8(parts: Iterable[bytes]) -> str:
    """The string that bytes are, which may be divided anywhere. Raises UnicodeDecodeError if they are none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    text = ""
    for part in parts:
        text += decoder.decode(part)
    text += decoder.decode(b"", final=True)
    return text


def joined(parts: Iterable[str]) -> Generator[None, None, str]:
    """Put strings together, in steps."""
    text = ""
    few: list[str] = []
    size = 0
    for part in parts:
        if len(part) > PART:
            text += "".join(few)
            few, size = [], 0
            for start in range(0, len(part), PART):
                text += part[start : start + PART]
                yield
            continue
        few.append(part)
        size += len(part)
        if size > PART or len(few) >= _FEW:
            text += "".join(few)
            few, size = [], 0
            yield
    text += "".join(few)
    return text


def cut(text: str, start: int, stop: int) -> Generator[None, None, str]:
    """A part of a string, in steps if it is long."""
    if stop - start <= PART:
        return text[start:stop]
    return (yield from joined(text[place : min(place + PART, stop)] for place in range(start, stop, PART)))
