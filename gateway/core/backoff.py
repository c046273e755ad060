"""Exponential back-off: how long to wait between attempts. The callers decide what is tried, and for how long."""

import random
from collections.abc import Callable


class Backoff:
    """The delays of one caller in seconds: `first`, then twice the one before, up to `last`.

    `jitter` is the share of each delay that is drawn at random: 0.5 gives from half of a delay to all of it, so that
    many callers that lost the same peer do not come back at once. `chance` draws from 0 (shortest) to 1.
    """

    __slots__ = ("_chance", "_first", "_jitter", "_last", "delay")

    def __init__(
        self, first: float, last: float, *, jitter: float = 0.0, chance: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._last = last
        self._jitter = jitter
        self._chance = chance
        self.delay = first
        """The delay that `next` returns, before jitter."""

    def next(self) -> float:
        """Return the delay before the next attempt. The one after it is longer."""
        delay = self.delay
        self.delay = min(2.0 * delay, self._last)
        return delay * (1.0 - self._jitter * (1.0 - self._chance())) if self._jitter else delay

    def reset(self) -> None:
        """Start over with the first delay."""
        self.delay = self._first
