"""Numbers as JSON spells them: one spelling for all that have the same value, which is compared exactly."""

import re
from typing import Final

MAX_PLAIN: Final = 20
"""Numbers with more digits before the point, or after it, are written as a coefficient and an exponent."""

_MAX_EXPONENT: Final = 4_000
"""Exponents of more digits are not computed with: such numbers are equal only if their exponents are."""

_SIGNS: Final = re.compile(r"[.eE]")
_EXPONENT_OR_ZERO: Final = re.compile(r"[.eE](?:(?<=\.)[0-9]++(?<=0)|(?<=[0-9][eE]))")
_LONG_INTEGER: Final = re.compile(rf"[0-9][0-9]{{{MAX_PLAIN}}}")
_SAMPLE: Final = 7
_SAMPLED: Final = re.compile(rf"[0-9][0-9]{{{(MAX_PLAIN + 1) // _SAMPLE - 1}}}")


def has_respelled(text: str) -> bool:
    """Whether a JSON text may have a number, other than `-0`, that `canonical_number` spells in another way."""
    return has_respelled_decimal(text) or has_long_integer(text)


def has_respelled_decimal(text: str) -> bool:
    """The same for numbers with a point or an exponent."""
    return _EXPONENT_OR_ZERO.search(text) is not None


def has_long_integer(text: str) -> bool:
    """Whether a text has more than MAX_PLAIN digits in a row."""
    # To look at each digit takes longer than to parse the text.
    return _SAMPLED.search(text[::_SAMPLE]) is not None and _LONG_INTEGER.search(text) is not None


def canonical_number(literal: str) -> str:
    """The one spelling, which is JSON: `100`, `1e2` and `100.0` are `100`; `15e-2` is `0.15`, and `-0` is `0`."""
    mantissa, _, exponent = literal.replace("E", "e").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("-0")
    coefficient = digits.rstrip("0")
    power = len(digits) - len(coefficient) - len(fraction)
    return _written("-" if literal[0] == "-" else "", coefficient, len(coefficient), power, exponent)


class LongNumber:
    """A number that comes in parts. `digits` are those of its coefficient, without zeros around them: take them away
    at any time, and give them back, or what stands for them, to `canonical`.
    """

    def __init__(self) -> None:
        self.digits: list[str] = []
        self._length = 0
        self._sign = ""
        self._zeros = 0
        self._power = 0
        self._part = "whole"
        self._exponent: list[str] = []

    def add(self, part: str) -> None:
        """Add a part of the literal."""
        start = 0
        for sign in _SIGNS.finditer(part):
            self._add_digits(part[start : sign.start()])
            self._part = "fraction" if sign[0] == "." else "exponent"
            start = sign.end()
        self._add_digits(part[start:])

    def canonical(self, coefficient: str) -> str:
        """The one spelling, given the coefficient."""
        return _written(self._sign, coefficient, self._length, self._power + self._zeros, "".join(self._exponent))

    def _add_digits(self, digits: str) -> None:
        if self._part == "exponent":
            self._exponent.append(digits)
            return
        if digits.startswith("-"):
            self._sign, digits = "-", digits[1:]
        if self._part == "fraction":
            self._power -= len(digits)
        if not self._length:
            digits = digits.lstrip("0")
        significant = digits.rstrip("0")
        if significant:
            self.digits += ("0" * self._zeros, significant)
            self._length += self._zeros + len(significant)
            self._zeros = 0
        self._zeros += len(digits) - len(significant)


def _written(sign: str, coefficient: str, length: int, power: int, exponent: str) -> str:
    """A number: a coefficient of so many digits, times ten to the power of the sum of `power` and the exponent."""
    if not length:
        return "0"
    if exponent:
        negative, exponent = exponent.startswith("-"), exponent.lstrip("+-").lstrip("0")
        if len(exponent) > _MAX_EXPONENT:
            return f"{sign}{coefficient}.{'1' if power < 0 else '0'}{abs(power)}e{'-' if negative else ''}{exponent}"
        power += int(exponent or "0") * (-1 if negative else 1)
    if 0 <= power <= MAX_PLAIN - length:
        return f"{sign}{coefficient}{'0' * power}"
    if -MAX_PLAIN <= power < 0 and length + power <= MAX_PLAIN:
        digits = coefficient.zfill(1 - power)
        return f"{sign}{digits[:power]}.{digits[power:]}"
    return f"{sign}{coefficient}e{power}"
