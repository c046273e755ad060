"""The numbers that an engine holds exactly, and those that it rounds.

No release of the engine keeps every number of a JSON text. `Numbers.INTEGERS` (runs of 0.10 and 0.11, and blobs of all
releases) keeps integers of 64 bits, and holds all other numbers as doubles. `Numbers.DOUBLES` (runs of 0.12 and 0.13)
holds all numbers as doubles and writes them so: 6 comes back as `6.0`. `Numbers.ROUNDED` accepts rounded numbers; those
beyond the range of a double are refused all the same, as no release takes them.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from enum import Enum
from math import isfinite
from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidParams, Path, Violation
from gateway.core.model import JsonText

EXACT_INTEGER: Final = 2**53
"""Doubles hold every integer up to this one, of either sign."""

_SUSPECT: Final = re.compile(r"[0-9][0-9.]{15}|[0-9][eE][-+0-9]")
"""Matches every text with a number that may be inexact: a double keeps 15 digits of any but the extreme numbers."""
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_ROUNDS: Final = " exactly: it rounds {}; send it as a string, or start the gateway with --lossy-numbers"


class Numbers(Enum):
    """The way in which an engine holds numbers."""

    INTEGERS = "integers of 64 bits, and doubles"
    DOUBLES = "doubles"
    ROUNDED = "doubles, and what is near one"

    def keeps(self, literal: str) -> bool:
        """Return whether a number comes back with the value that was written, or for ROUNDED with one near it."""
        if self is Numbers.ROUNDED:
            return isfinite(float(literal))
        if literal.lstrip("-").isdigit():
            if len(literal) > 20:
                return False
            limits = (-(2**63), 2**64 - 1) if self is Numbers.INTEGERS else (-EXACT_INTEGER, EXACT_INTEGER)
            return limits[0] <= int(literal) <= limits[1]
        value = float(literal)
        try:
            return isfinite(value) and Decimal(literal) == Decimal(repr(value))
        except InvalidOperation:
            return False


_ADVICE: Final = {
    Numbers.INTEGERS: _ROUNDS.format("integers of more than 64 bits, and long decimals"),
    Numbers.DOUBLES: _ROUNDS.format("integers above 2^53, and long decimals"),
    Numbers.ROUNDED: ": it is beyond the range of a double; send it as a string",
}


def refuse_inexact_numbers(text: JsonText, numbers: Numbers, *path: str | int) -> None:
    """Check the numbers of a JSON text.

    Raises InvalidParams with the path of a number, below `path`, if the engine would change it.
    """
    if _SUSPECT.search(text) is None:
        return
    found = _first_inexact(text, numbers.keeps, path)
    if found is None:
        return
    inner_path, literal = found
    shown = literal if len(literal) <= 40 else f"{literal[:40]}..."
    raise InvalidParams([Violation((*path, *inner_path), f"the engine cannot hold {shown}{_ADVICE[numbers]}")])


def restore_integers(text: JsonText) -> JsonText:
    """Return a value that an engine has written with doubles only, with whole numbers up to 2^53 as integers.

    Keys are sorted, as such an engine writes them in another order each time. Text that cannot be parsed is returned as
    it is.
    """
    if text[0] not in '{["':
        return _number(text) if text[0] in "-0123456789" else text
    if text[0] == '"':
        return text
    try:
        return _ENCODER.encode(json.loads(text, parse_float=_whole)).decode()
    except (RecursionError, ValueError):
        return text


class _Inexact(str):
    """The literal of a number that the engine would change. It stands in place of the number."""


def _first_inexact(text: JsonText, keeps: Callable[[str], bool], path: Path) -> tuple[Path, str] | None:
    any_inexact = False

    def number(literal: str) -> str | None:
        nonlocal any_inexact
        if keeps(literal):
            return None
        any_inexact = True
        return _Inexact(literal)

    try:
        value = json.loads(text, parse_float=number, parse_int=number)
    except RecursionError:
        raise InvalidParams.field(*path, description="nested too deeply") from None
    return _find(value) if any_inexact else None


def _find(root: Any) -> tuple[Path, str] | None:
    # The values are visited in the order of the text: the last one that was pushed is popped first.
    stack: list[tuple[Any, Path]] = [(root, ())]
    while stack:
        value, path = stack.pop()
        if isinstance(value, _Inexact):
            return path, str(value)
        if isinstance(value, dict):
            stack += reversed([(member, (*path, name)) for name, member in value.items()])
        elif isinstance(value, list):
            stack += reversed([(element, (*path, index)) for index, element in enumerate(value)])
    # A later member with the same name hides the number.
    return None


def _whole(literal: str) -> int | float:
    value = float(literal)
    if value.is_integer() and abs(value) <= EXACT_INTEGER and not (value == 0 and literal[0] == "-"):
        return int(value)
    return value


def _number(literal: str) -> JsonText:
    return _ENCODER.encode(_whole(literal)).decode()
