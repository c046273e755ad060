import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.backoff import Backoff


def test_delays_double_up_to_the_last() -> None:
    backoff = Backoff(0.1, 1.0)
    assert [backoff.next() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_reset_starts_over() -> None:
    backoff = Backoff(0.1, 1.0)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert [backoff.next(), backoff.next()] == [0.1, 0.2]


def test_the_delay_can_be_read_before_it_is_taken() -> None:
    backoff = Backoff(0.1, 1.0, jitter=0.5, chance=lambda: 0.0)
    assert backoff.delay == 0.1
    assert backoff.next() == 0.05
    assert backoff.delay == 0.2


def test_delays_without_a_limit_never_overflow() -> None:
    backoff = Backoff(1.0, math.inf)
    assert [backoff.next() for _ in range(2_000)][-1] == math.inf


@given(chance=st.floats(0.0, 1.0), jitter=st.floats(0.0, 1.0))
def test_jitter_takes_at_most_its_share(chance: float, jitter: float) -> None:
    backoff = Backoff(1.0, 4.0, jitter=jitter, chance=lambda: chance)
    for full in (1.0, 2.0, 4.0, 4.0):
        assert full * (1.0 - jitter) <= backoff.next() <= full


def test_jitter_differs_between_callers() -> None:
    assert len({Backoff(1.0, 1.0, jitter=0.5).next() for _ in range(20)}) > 1
