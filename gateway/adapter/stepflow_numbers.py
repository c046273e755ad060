"""Which numbers an engine keeps, and what it makes of them.

No release of the engine keeps every number of a JSON text. `Numbers.INTEGERS` (0.10, 0.11; and what any release stores
as a blob) keeps integers of 64 bits, and holds all other numbers as doubles. `Numbers.DOUBLES` (0.12, 0.13) holds all
numbers as doubles and writes them so: 6 comes back as `6.0`. Who takes rounded numbers, asks for `Numbers.ROUNDED`:
all that are in the range of a double, which no release can do without.
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
"""Up to here, doubles hold every integer."""

_SUSPECT: Final = re.compile(r"[0-9][0-9.]{15}|[0-9][eE][-+0-9]")
"""Found in every text with a number that may be lost: a double keeps 15 digits of anything but extremes."""
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_ROUNDS: Final = " exactly: it rounds {}; send it as a string, or start the gateway with --lossy-numbers"


class Numbers(Enum):
    """How an engine holds numbers."""

    INTEGERS = "integers of 64 bits, and doubles"
    DOUBLES = "doubles"
    ROUNDED = "doubles, and what is near one"

    def keeps(self, literal: str) -> bool:
        """Whether a number comes back with the value that was written, or near it."""
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


def refuse_lost_numbers(text: JsonText, numbers: Numbers, *path: str | int) -> None:
    """InvalidParams, with the place below `path`, if the text has a number that the engine would change."""
    if _SUSPECT.search(text) is None:
        return
    lost = _first_lost(text, numbers.keeps, path)
    if lost is None:
        return
    place, literal = lost
    shown = literal if len(literal) <= 40 else f"{literal[:40]}..."
    raise InvalidParams([Violation((*path, *place), f"the engine cannot hold {shown}{_ADVICE[numbers]}")])


def restored(text: JsonText) -> JsonText:
    """A value that an engine has written with all numbers as doubles: whole ones up to 2^53 become integers again.

    Keys are sorted, as such an engine gives them in another order each time. Text that cannot be read for that is
    returned as it is.
    """
    if text[0] not in '{["':
        return _number(text) if text[0] in "-0123456789" else text
    if text[0] == '"':
        return text
    try:
        return _ENCODER.encode(json.loads(text, parse_float=_whole)).decode()
    except (RecursionError, ValueError):
        return text


class _Lost(str):
    """The literal of a number that would be lost, in its place."""


def _first_lost(text: JsonText, keeps: Callable[[str], bool], path: Path) -> tuple[Path, str] | None:
    any_lost = False

    def number(literal: str) -> str | None:
        nonlocal any_lost
        if keeps(literal):
            return None
        any_lost = True
        return _Lost(literal)

    try:
        value = json.loads(text, parse_float=number, parse_int=number)
    except RecursionError:
        raise InvalidParams.field(*path, description="nested too deeply") from None
    return _find(value) if any_lost else None


def _find(root: Any) -> tuple[Path, str] | None:
    # Places are in the order of the text, since the last one that was put on the stack is taken first.
    stack: list[tuple[Any, Path]] = [(root, ())]
    while stack:
        value, path = stack.pop()
        if isinstance(value, _Lost):
            return path, str(value)
        if isinstance(value, dict):
            stack += reversed([(member, (*path, name)) for name, member in value.items()])
        elif isinstance(value, list):
            stack += reversed([(element, (*path, index)) for index, element in enumerate(value)])
    # It is hidden by a later member with the same name.
    return None


def _whole(literal: str) -> int | float:
    value = float(literal)
    if value.is_integer() and abs(value) <= EXACT_INTEGER and not (value == 0 and literal[0] == "-"):
        return int(value)
    return value


def _number(literal: str) -> JsonText:
    return _ENCODER.encode(_whole(literal)).decode()
