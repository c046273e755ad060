"""Pauses grow, are spread by chance, and end."""

import pytest

from gateway.client.outage import EARLY_SECONDS, FIRST_PAUSE, LONGEST_PAUSE, Outage
from gateway.core.errors import InvalidParams, Overloaded, RunNotFound, TooLarge, Unavailable


class Clock:
    """A time that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def outage(retry_for: float | None = None, until: float | None = None, chance: float = 1.0) -> tuple[Outage, Clock]:
    clock = Clock()
    return Outage(retry_for, until, clock=clock, chance=lambda: chance), clock


def test_pauses_double_up_to_the_longest() -> None:
    endless, _ = outage()
    pauses = [endless.pause(Unavailable("")) for _ in range(2_000)]
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_half_of_a_pause_is_left_to_chance() -> None:
    assert outage(chance=0.0)[0].pause(Unavailable("")) == FIRST_PAUSE / 2


def test_a_pause_is_at_least_what_the_gateway_asks_for() -> None:
    assert outage()[0].pause(Overloaded("", retry_after=3.0)) == 3.0 + FIRST_PAUSE


def test_progress_lets_pauses_begin_anew_and_an_answer_alone_does_not() -> None:
    some, _ = outage()
    some.pause(Unavailable(""))
    some.heard(progress=False)
    assert some.pause(Unavailable("")) == 2 * FIRST_PAUSE
    some.heard()
    assert some.pause(Unavailable("")) == FIRST_PAUSE


@pytest.mark.parametrize("error", [RunNotFound("x"), InvalidParams([]), TooLarge("x"), ValueError()])
def test_what_does_not_pass_is_raised_at_once(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        outage()[0].pause(error)
    assert raised.value is error


def test_a_timeout_is_final_at_the_deadline_and_before_it_that_of_somebody_else() -> None:
    some, clock = outage(until=100.0 + 10.0)
    assert some.pause(TimeoutError()) == FIRST_PAUSE
    clock.now += 10.0 - EARLY_SECONDS
    with pytest.raises(TimeoutError):
        some.pause(TimeoutError())


def test_without_patience_there_is_no_second_call() -> None:
    with pytest.raises(Unavailable):
        outage(retry_for=0)[0].pause(Unavailable(""))


def test_patience_counts_from_the_first_failure_since_the_gateway_was_heard_of() -> None:
    some, clock = outage(retry_for=10)
    some.pause(Unavailable(""))
    clock.now += 9
    some.heard(progress=False)
    some.pause(Unavailable(""))
    clock.now += 9
    some.pause(Unavailable(""))
    clock.now += 1
    with pytest.raises(Unavailable):
        some.pause(Unavailable(""))


def test_no_pause_goes_beyond_the_end_of_the_call() -> None:
    some, clock = outage(until=101.0)
    assert some.remaining() == 1.0
    some.pause(Unavailable(""))
    clock.now = 100.9
    with pytest.raises(Unavailable):
        some.pause(Unavailable(""))
    clock.now = 102.0
    assert some.remaining() == 0.0
