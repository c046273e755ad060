"""JSON texts in the compact form that names a blob: the one in which a Stepflow engine stores it.

There is no white space between tokens, strings have no escapes that they do not need, and a decimal that a double
stands for is spelled as the engine spells it (`1e2` as `100.0`). All other numbers, the order of members, and repeated
members stay as they are, since nothing of a document may be lost.
"""

import re
import string
from decimal import Decimal
from math import isinf
from sys import getsizeof
from typing import Final

import msgspec

from gateway.core.forms import UNCOUNTED, Memory
from gateway.core.json_layout import Steps, at_once
from gateway.core.json_walk import PART_OF_STRING
from gateway.core.long_strings import joined
from gateway.core.model import JsonText

WINDOW: Final = 4 << 10
"""How many characters a step looks at, about."""

_EMPTY_BYTES: Final = getsizeof("\xe9") - 1
_MAX_WIDTH: Final = 4
"""How many bytes a character of a string takes at most: as many as its widest one."""

_LONGEST_NUMBER: Final = 400
"""Longer numbers stay as they are spelled."""

_STRING: Final = r'"(?:[^"\\]++|\\.)*+"'
_NUMBER: Final = r"-?[0-9][0-9.eE+-]*+"
_TOKENS: Final = re.compile(rf"{_STRING}|[^\" \t\n\r]++", re.DOTALL)
_RUN: Final = re.compile(rf'(?:[^"]++|{_STRING})*+', re.DOTALL)
_STRING_OR_NUMBER: Final = re.compile(rf"{_STRING}|{_NUMBER}", re.DOTALL)
_DECIMAL: Final = re.compile(r"[0-9][.eE]")
_ATOM: Final = re.compile(r"[-+.0-9a-zA-Z]*+")
_ATOM_SIGNS: Final = "-+." + string.digits + string.ascii_letters
_LOOSE: Final = re.compile(r"[ \t\n\r\\]")


def compact_at_once(text: JsonText) -> JsonText:
    """The compact form of a short text: the parser takes out the white space."""
    try:
        return _respelled(msgspec.json.format(text, indent=-1))
    except RecursionError:
        return at_once(compact(text))


def compact(text: JsonText, memory: Memory = UNCOUNTED) -> Steps[JsonText]:
    """The compact form of a text, which is the text itself if it is compact. `memory` counts what is held of it."""
    pieces: list[str] = []
    length, widest = 0, 1
    position, changed, in_string, in_number = 0, False, False, False
    while position < len(text):
        limit = min(position + WINDOW, len(text))
        if in_string:
            end = _end(PART_OF_STRING, text, position, limit)
            piece = _string(text[position:end])
        else:
            end = limit if in_number else _end(_RUN, text, position, limit)
            end, in_number = _end_of_tokens(text, position, end, in_number=in_number)
            piece = text[position:end] if in_number else _compact_run(text[position:end])
            in_number = in_number and end == limit
        changed = changed or piece != text[position:end]
        size = getsizeof(piece)
        memory.grow(size)
        length += len(piece) + 1
        if not piece.isascii():
            widest = max(widest, (size - _EMPTY_BYTES) // len(piece))
        pieces.append(piece)
        position = end
        if text[end : end + 1] == '"':
            pieces.append('"')
            position += 1
            in_string = not in_string
        yield
    if not changed:
        return text
    memory.grow(length * min(widest, _MAX_WIDTH))
    return (yield from joined(pieces))


def _end_of_tokens(text: JsonText, start: int, end: int, *, in_number: bool) -> tuple[int, bool]:
    """Where whole tokens end, and whether these are none, but a part of a number that is longer than a window."""
    if in_number:
        return _end(_ATOM, text, start, end), True
    if end == len(text) or text[end] not in _ATOM_SIGNS:
        return end, False
    cut = start + len(text[start:end].rstrip(_ATOM_SIGNS))
    return (cut, False) if cut > start else (end, True)


def _end(pattern: "re.Pattern[str]", text: JsonText, start: int, limit: int) -> int:
    found = pattern.match(text, start, limit)
    assert found is not None  # All of them match the empty text.
    return found.end()


def _compact_run(text: str) -> str:
    """The compact form of whole tokens."""
    if _LOOSE.search(text):
        text = "".join(_TOKENS.findall(text))
    return _respelled(text)


def _respelled(text: str) -> str:
    if "\\" in text or "-0" in text or _DECIMAL.search(text):
        text = _STRING_OR_NUMBER.sub(_token, text)
    return text


def _token(found: "re.Match[str]") -> str:
    token = found[0]
    return f'"{_string(token[1:-1])}"' if token[0] == '"' else engine_number(token)


def _string(text: str) -> str:
    """A part of the inside of a string, with the escapes that it needs."""
    if "\\" not in text:
        return text
    decoded: str = msgspec.json.decode(f'"{text}"', type=str)
    return msgspec.json.encode(decoded)[1:-1].decode()


def engine_number(literal: str) -> str:
    """A number as the engine spells it; as it is if it is an integer, or if the engine would round it."""
    if literal == "-0":
        return "-0.0"
    if len(literal) > _LONGEST_NUMBER or literal.lstrip("-").isdecimal():
        return literal
    value = float(literal)
    spelled = repr(value)
    if (spelled == literal and "e-0" not in spelled) or isinf(value) or Decimal(literal) != Decimal(spelled):
        return literal
    mantissa, _, exponent = spelled.partition("e")
    if exponent == "-05":
        return f"{'-' if value < 0 else ''}0.0000{mantissa.lstrip('-').replace('.', '')}"
    return f"{mantissa}e{int(exponent):+}" if exponent else spelled
