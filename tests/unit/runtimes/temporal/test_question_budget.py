"""Sets ask the engine no more than so often, together."""

import time

import pytest

from gateway.runtimes.temporal.question_budget import RATE, SILENT_SECONDS, QuestionBudget


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_so_many_are_asked_a_second(clock: Clock) -> None:
    budget = QuestionBudget()
    asked = 0
    for _ in range(100):
        asked += budget.take(1_000)
        clock.now += 0.1
    assert asked == pytest.approx(10 * RATE + RATE, abs=RATE * 0.2)
    clock.now += 3_600
    assert budget.take(1_000) == RATE
    assert budget.take(1_000) == 0


def test_none_is_asked_for_a_while_when_nobody_answers(clock: Clock) -> None:
    budget = QuestionBudget()
    budget.unanswered()
    assert (budget.is_silent, budget.take(1)) == (True, 0)
    clock.now += SILENT_SECONDS
    assert (budget.is_silent, budget.take(1)) == (False, 1)


def test_many_sets_are_polled_less_often() -> None:
    budget = QuestionBudget()
    budget.pollers = 1
    assert budget.pause(0.2) == 0.2
    budget.pollers = 100
    assert budget.pause(0.2) == 10
