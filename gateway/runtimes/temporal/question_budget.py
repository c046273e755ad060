"""How often sets ask the engine: all that are followed on this gateway together."""

import asyncio
import time
from typing import Final

RATE: Final = 50.0
"""How many runs a second are asked, in turn, how far they are; after a pause, as many at once."""

POLLS: Final = 10.0
"""How many polls of visibility there are a second."""

AT_ONCE: Final = 8
"""How many runs are asked at the same time."""

LISTS_AT_ONCE: Final = 4
"""How many followers that begin read what there is at the same time."""

SILENT_SECONDS: Final = 5.0
"""How long none is asked when none has answered: no gateway executes, then."""


class QuestionBudget:
    """See the module. `pollers` is how many sets are followed."""

    def __init__(self) -> None:
        self.pollers = 0
        self.places = asyncio.Semaphore(AT_ONCE)
        self.lists = asyncio.Semaphore(LISTS_AT_ONCE)
        self._left = RATE
        self._at = time.monotonic()
        self._silent_until = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether nobody has answered just now."""
        return time.monotonic() < self._silent_until

    def take(self, wanted: int) -> int:
        """How many of so many runs may be asked now."""
        now = time.monotonic()
        self._left = min(RATE, self._left + (now - self._at) * RATE)
        self._at = now
        taken = 0 if now < self._silent_until else min(wanted, int(self._left))
        self._left -= taken
        return taken

    def unanswered(self) -> None:
        """None of the runs that were asked has answered."""
        self._silent_until = time.monotonic() + SILENT_SECONDS

    def pause(self, seconds: float) -> float:
        """How long a poller pauses that would pause so long if it were the only one."""
        return max(seconds, self.pollers / POLLS)
