"""How often sets ask the engine: all that are followed on this gateway together."""

import asyncio
import time
from typing import Final

RATE: Final = 50.0
"""How many runs a second are asked, in turn, how far they are."""

POLLS: Final = 10.0
"""How many polls of visibility there are a second."""

MOST: Final = 16
"""How many of them one poll asks."""

AT_ONCE: Final = 8
"""How many runs are asked at the same time."""


class QuestionBudget:
    """See the module. `pollers` is how many sets are followed."""

    def __init__(self) -> None:
        self.pollers = 0
        self.places = asyncio.Semaphore(AT_ONCE)
        self._left = 0.0
        self._at = time.monotonic()

    def take(self, wanted: int) -> int:
        """How many of so many runs one poll may ask again."""
        now = time.monotonic()
        self._left = min(RATE, self._left + (now - self._at) * RATE)
        self._at = now
        taken = min(wanted, MOST, int(self._left))
        self._left -= taken
        return taken

    def pause(self, seconds: float) -> float:
        """How long a poller pauses that would pause so long if it were the only one."""
        return max(seconds, self.pollers / POLLS)
