"""How old updates are when they are sent."""

import time

from gateway.telemetry.metrics import Distribution
from gateway.telemetry.update_ages import TOGETHER, UpdateAges


class OneDistribution:
    """A histogram without labels, in no registry."""

    bounds: tuple[float, ...] = (0.5, 5.0, 500.0)

    def __init__(self) -> None:
        self.distribution = Distribution(self.bounds)

    def labels(self) -> Distribution:
        return self.distribution


def test_each_update_counts_with_its_age() -> None:
    histogram = OneDistribution()
    ages = UpdateAges(histogram)
    now = time.monotonic()
    ages.sent(now - 2)
    ages.sent(now)
    ages.sent(now - 50)
    ages.sent(now - 5_000)
    assert histogram.distribution.counts == [1, 1, 1, 1]
    assert 5_052 <= histogram.distribution.sum <= 5_062


def test_many_followers_of_one_state_count_each() -> None:
    histogram = OneDistribution()
    ages = UpdateAges(histogram)
    at = time.monotonic() - 50
    for _ in range(3 * TOGETHER + 1):
        ages.sent(at)
    assert histogram.distribution.counts == [0, 0, 3 * TOGETHER + 1, 0]


def test_a_time_that_is_yet_to_come_has_no_negative_age() -> None:
    histogram = OneDistribution()
    UpdateAges(histogram).sent(time.monotonic() + 1_000)
    assert (histogram.distribution.counts, histogram.distribution.sum) == ([1, 0, 0, 0], 0)
