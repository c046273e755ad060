"""Durations as users write them: `90`, `45s`, `1h30m`, `30d`."""

import re
from typing import Final

from gateway.core.model import MAX_TIMEOUT

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]{1,9})?)(ms|[smhdw])")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]{1,9})?")


class DurationTooLong(ValueError):
    """A duration that is longer than any timeout may be."""


def duration_seconds(text: str) -> float:
    """Read a duration, in seconds: a number of seconds, or numbers with units, from weeks (`w`) to milliseconds (`ms`).

    Raises ValueError, with words for users, if the text is no duration, and DurationTooLong if it is longer than any
    timeout may be.
    """
    parts = _PART.findall(text)
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif parts and "".join(map("".join, parts)) == text:
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        raise ValueError(f"expected a duration, such as 90, 45s, 2h or 30d, got {text!r}")
    if seconds > MAX_TIMEOUT:
        raise DurationTooLong(f"{text!r} is longer than anything may take")
    return seconds
