"""How often the engine is asked how far runs are: a question has a gateway answer it, and takes time of all of them."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_RATE: Final = 100.0
"""How many questions a second there are at most, of all runs that are watched together."""

MAX_AT_ONCE: Final = 8
"""How many questions of watches wait for their answers at the same time: an engine that is busy is asked no more."""

_SHARE: Final = 2.0
"""A pause is at least so many times as long as an answer takes: engines and gateways that are busy are asked less."""

_SMOOTHING: Final = 0.25


class QuestionPace:
    """Makes pauses between questions longer when many runs are watched, and when answers take long."""

    def __init__(self) -> None:
        self.runs = 0
        """About how many runs questions are asked."""
        self.places = asyncio.Semaphore(MAX_AT_ONCE)
        """A watch takes one while it asks."""
        self._seconds = 0.0

    def pause(self, seconds: float) -> float:
        """How long to wait before the next question about a run, if it were the only one that would be so long."""
        return max(seconds, self.runs / MAX_RATE, self._seconds * _SHARE)

    @contextmanager
    def question(self) -> Iterator[None]:
        """A block in which a question is answered, or not in time: that counts as well."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._seconds += (time.monotonic() - begun - self._seconds) * _SMOOTHING
