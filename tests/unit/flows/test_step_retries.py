from collections.abc import Sequence

from gateway.core.model import ItemError
from gateway.flows.flow import Step
from gateway.flows.step_retries import StepRetries
from gateway.flows.task import ItemFailure
from tests.support.flow_host import compiled

LOST, FAILED = True, False
"""Whether the way to the component has failed, or the component."""


def step(component: str = "/t/x", **on_error: object) -> Step:
    given = {"onError": on_error} if on_error else {}
    flow = compiled([{"id": "s", "component": component, "input": 1, **given}], {"$step": "s"})
    found: Step = flow.steps["s"]
    return found


def failure(transport: bool) -> ItemFailure:
    return ItemFailure(ItemError(code=-32303, message=""), transport=transport)


def attempts(retries: StepRetries, failures: Sequence[bool]) -> int:
    """How many attempts there are if they fail in these ways."""
    for number, transport in enumerate(failures, 1):
        if retries.pause_after(failure(transport)) is None:
            return number
    raise AssertionError(f"there are more than {len(failures)} attempts: {list(failures)}")


def test_a_lost_server_is_tried_three_times_more() -> None:
    assert attempts(StepRetries(step(), 3), [LOST] * 5) == 4


def test_other_failures_are_final_without_on_error() -> None:
    assert attempts(StepRetries(step(), 3), [FAILED] * 5) == 1


def test_on_error_counts_beside_it() -> None:
    retry = step(action="retry", maxRetries=2)
    assert attempts(StepRetries(retry, 3), [FAILED] * 5) == 3
    assert attempts(StepRetries(retry, 3), [LOST, FAILED, LOST, FAILED, LOST, FAILED]) == 6
    assert attempts(StepRetries(retry, 3), [LOST] * 10) == 6


def test_none_if_the_setting_says_so() -> None:
    assert attempts(StepRetries(step(), 0), [LOST]) == 1


def test_pauses_grow_to_ten_seconds() -> None:
    retries = StepRetries(step(), 10)
    pauses = [retries.pause_after(failure(LOST)) or 0.0 for _ in range(6)]
    for number, pause in enumerate(pauses):
        longest = min(2.0**number, 10.0)
        assert longest / 2 <= pause <= longest
