"""Refuses texts of JSON in which an object has a member twice: decoding would keep the last one and tell nobody."""

import re
from collections.abc import Generator
from typing import Any, Final

import msgspec

from gateway.core.errors import Path
from gateway.core.json_parts import TWICE, MemberRepeated
from gateway.core.json_walk import WINDOW

_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'
_TOKENS: Final = re.compile(rb"(%b)[ \t\n\r]*+(:?)|[\[\]{},]" % _STRING, re.DOTALL)
_ONE_MEMBER_EACH: Final = re.compile(
    rb'(?:[^{}"]*+\{\s*+%b\s*+:\s*+(?:%b|[^{}"\[\],]*+)\s*+\})*+[^{}"]*+' % (_STRING, _STRING), re.DOTALL
)
"""Texts of JSON whose objects have one member each, that is neither an object nor an array: as most inputs of runs."""

_LOOKED_AT_ONCE: Final = WINDOW + len("[]")
_STRIDE: Final = 64
"""How many tokens are a step."""


def refuse_repeated(data: bytes, path: Path, first: int = 0) -> Generator[None, None, None]:
    """Look at a short text, which is JSON, in steps. Raises MemberRepeated, with the place, if a member is there twice.

    If it is an array, its elements have indices from `first` on. Payloads are strings, and what is
    inside of them does not count.
    """
    if data.count(b":") < 2 or (len(data) <= _LOOKED_AT_ONCE and _ONE_MEMBER_EACH.fullmatch(data)):
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
