"""Refuses texts of JSON in which an object has a member twice: decoding would keep the last one and tell nobody."""

import re
from collections.abc import Generator
from typing import Any, Final

import msgspec

from gateway.core.errors import Path
from gateway.core.json_parts import TWICE, MemberRepeated

_TOKENS: Final = re.compile(rb'("(?:[^"\\]++|\\.)*+")[ \t\n\r]*+(:?)|[\[\]{},]', re.DOTALL)
_STRIDE: Final = 64
"""How many tokens are a step."""


def refuse_repeated(data: bytes, path: Path, first: int = 0) -> Generator[None, None, None]:
    """Look at a short text, which is JSON, in steps. Raises MemberRepeated, with the place, if a member is there twice.

    If it is an array, its elements have indices from `first` on. Payloads are strings, and what is
    inside of them does not count.
    """
    if data.count(b":") < 2:
        return
    inside: list[tuple[set[str], list[Any]]] = []  # For each open bracket the names so far, and the place.
    for index, token in enumerate(_TOKENS.finditer(data)):
        if index % _STRIDE == 0:
            yield
        match token[0]:
            case b"{":
                inside.append((set(), [""]))
            case b"[":
                inside.append((set(), [0 if inside else first]))
            case b"}" | b"]":
                inside.pop()
            case b",":
                place = inside[-1][1]
                if isinstance(place[0], int):
                    place[0] += 1
            case _ if token[2]:
                names, place = inside[-1]
                place[0] = msgspec.json.decode(token[1], type=str)
                if place[0] in names:
                    raise MemberRepeated.field(*path, *(each[0] for _, each in inside), description=TWICE)
                names.add(place[0])
