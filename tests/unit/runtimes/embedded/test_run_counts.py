"""How runs and items are counted."""

from gateway.core.model import RunState
from gateway.flows.run_record import Outcome
from gateway.runtimes.embedded.run_counts import items_gauged, run_accepted, run_ended
from gateway.telemetry.gateway_metrics import ITEMS_ENDED, ITEMS_EXECUTING, ITEMS_WAITING, RUNS_ENDED, RUNS_SUBMITTED
from gateway.telemetry.metrics import Cell


def numbers() -> list[float]:
    states = ("success", "failed", "cancelled")
    return [
        RUNS_SUBMITTED.labels().value,
        *(RUNS_ENDED.labels(state).value for state in states),
        *(ITEMS_ENDED.labels(state).value for state in states),
    ]


def test_a_run_that_was_executed_while_it_was_accepted_counts_as_both() -> None:
    before = numbers()
    run_accepted(Outcome(RunState.FAILED, 3, 2, 0))
    assert [now - then for now, then in zip(numbers(), before, strict=True)] == [1, 0, 1, 0, 3, 2, 0]


def test_a_run_that_ends_counts_the_items_that_never_got_a_result() -> None:
    before = numbers()
    run_accepted(None)
    run_ended(Outcome(RunState.CANCELLED, 3, 2, 0, cancelled=5))
    assert [now - then for now, then in zip(numbers(), before, strict=True)] == [1, 0, 0, 1, 0, 0, 5]


class Executor:
    items = 4


def test_items_that_are_left_and_do_not_execute_wait() -> None:
    left = Cell()
    left.value = 10
    with items_gauged(left, Executor()):
        assert ITEMS_EXECUTING.family().samples == [((), [4])]
        assert ITEMS_WAITING.family().samples == [((), [6])]
    assert ITEMS_WAITING.family().samples == [((), [0])]
