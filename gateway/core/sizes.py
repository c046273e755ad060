"""Sizes in settings, as people write and read them."""

import re
from typing import Any

_SIZE = re.compile(r"\s*([0-9]{1,1000})\s*(?:([KMGT])iB)?\s*")


def parse_size(size: Any) -> Any:
    """Read a size: a number of bytes, or a text such as `512MiB`."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise ValueError(f"expected a number of bytes, or one with KiB, MiB, GiB or TiB, got {size!r}")
    number, unit = match.groups()
    return int(number) << (10 * ("KMGT".index(unit) + 1) if unit else 0)


def size_text(size: int) -> str:
    """Write a size for people, rounded down: `512 MiB`."""
    power = max(0, min(4, (size.bit_length() - 1) // 10))
    return f"{size >> (10 * power)} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
