"""How old updates are when they are sent, at a cost that thousands of followers of one run do not notice."""

import time
from bisect import bisect_left
from typing import Final, Protocol

from gateway.telemetry.gateway_metrics import UPDATE_AGE
from gateway.telemetry.metrics import Distribution

TOGETHER: Final = 16
"""How many updates of the same age are sent, at most, before the time is looked at again."""


class AgeHistogram(Protocol):
    """A histogram without labels."""

    bounds: tuple[float, ...]

    def labels(self) -> Distribution:
        """Its distribution."""


class UpdateAges:
    """Counts ages in a histogram. Followers of the same state come one after the other, some microseconds apart."""

    __slots__ = ("_age", "_at", "_bounds", "_bucket", "_counts", "_distribution", "_last")

    def __init__(self, histogram: AgeHistogram) -> None:
        self._distribution: Distribution = histogram.labels()
        self._counts = self._distribution.counts
        self._bounds = histogram.bounds
        self._at = self._age = 0.0
        self._bucket = self._last = 0

    def sent(self, at: float) -> None:
        """Somebody is sent a state that came at this value of `time.monotonic()`."""
        counts, bucket = self._counts, self._bucket
        if at != self._at or (number := counts[bucket]) >= self._last:
            self._at = at
            self._age = max(0.0, time.monotonic() - at)
            bucket = self._bucket = bisect_left(self._bounds, self._age)
            number = counts[bucket]
            self._last = number + TOGETHER
        counts[bucket] = number + 1
        self._distribution.sum += self._age


UPDATE_AGES: Final = UpdateAges(UPDATE_AGE)
