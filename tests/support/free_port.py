"""A port of loopback for programs that cannot take a free one themselves."""

import random
import socket
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_ATTEMPTS: Final = 100

_CHANCE: Final = random.SystemRandom()
"""Properties are tested with the same numbers each time."""


def free_port() -> int:
    """A port that nothing listened on a moment ago. Another program may take it before it is used.

    The system gives it to no connection of its own, where it tells which ones it gives: a client that tries to reach a
    server that restarts would take its port sooner or later.
    """
    highest = int(_RANGE.read_text().split()[0]) - 1 if _RANGE.exists() else 0
    if highest > _LOWEST:
        for _ in range(_ATTEMPTS):
            if port := _taken(_CHANCE.randint(_LOWEST, highest)):
                return port
    return _taken(0)


def _taken(port: int) -> int:
    """The port if it is free, or any free one in place of 0; 0 if it is not."""
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(taken.getsockname()[1])
