"""Patterns of texts that settings may be, in what the expressions of Python and of Go have in common."""

from typing import Final

SPACE: Final = r"\s*"
LONGEST: Final = {"ms": 14, "s": 11, "m": 9, "h": 7, "d": 6, "w": 5}
"""How many digits of each unit are no longer than any timeout may be."""


def numbers(low: int, high: int) -> str:
    """The decimal numbers from `low` to `high`, with zeros before them."""
    parts: list[str] = []
    while low <= high:
        # The largest stretch from `low` on whose last digits are any.
        free = 0
        while low % 10 ** (free + 1) == 0 and low + 10 ** (free + 1) - 1 <= high and low:
            free += 1
        step = 10**free
        digit = low // step % 10
        last = min(9, digit + (high - low + 1) // step - 1)
        head = str(low // step // 10) if low // step >= 10 else ""
        parts.append(f"{head}[{digit}-{last}]" + (f"[0-9]{{{free}}}" if free else ""))
        low += (last - digit + 1) * step
    return f"0*(?:{'|'.join(parts)})"


def sizes(low: int, high: int) -> str:
    """The sizes from `low` to `high` bytes: a number, or one with a unit."""
    forms = [numbers(low, high)]
    for power, unit in enumerate("KMGT", start=1):
        size = 1 << 10 * power
        if high >= size:
            forms.append(f"{numbers(-(-low // size), high // size)}{SPACE}{unit}iB")
    return f"^{SPACE}(?:{'|'.join(forms)}){SPACE}$"


def durations() -> str:
    """The durations: a number of seconds, or numbers with units."""
    part = r"(?:\.[0-9]{1,9})?"
    units = "|".join(f"[0-9]{{1,{digits}}}{part}{unit}" for unit, digits in LONGEST.items())
    return f"^(?:[0-9]{{1,{LONGEST['s']}}}{part}|(?:{units})+)$"


def any_case(*texts: str) -> str:
    """These texts, in small and in capital letters."""
    return f"^(?:{'|'.join(''.join(f'[{letter}{letter.upper()}]' for letter in text) for text in texts)})$"


def listed(entry: str) -> str:
    """Entries with commas between them."""
    return f"^[\\s,]*(?:(?:{entry}){SPACE}(?:,[\\s,]*(?:{entry}){SPACE})*,*{SPACE})?$"
