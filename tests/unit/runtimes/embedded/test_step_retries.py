import json
from collections.abc import Sequence

import pytest

from gateway.core.model import ItemError
from gateway.runtimes.embedded.flow import Step
from gateway.runtimes.embedded.step_retries import StepRetries
from tests.support.flow_host import compiled

LOST, FAILED = -32302, -32100


def step(component: str = "/t/x", **on_error: object) -> Step:
    given = {"onError": on_error} if on_error else {}
    flow = compiled([{"id": "s", "component": component, "input": 1, **given}], {"$step": "s"})
    found: Step = flow.steps["s"]
    return found


def attempts(retries: StepRetries, codes: Sequence[int]) -> int:
    """How many attempts there are if they fail with these codes."""
    for number, code in enumerate(codes, 1):
        if retries.pause_after(ItemError(code=code, message="")) is None:
            return number
    raise AssertionError(f"there are more than {len(codes)} attempts: {json.dumps(list(codes))}")


@pytest.mark.parametrize("code", [-32300, -32301, -32302, -32303, -32399])
def test_a_lost_server_is_tried_three_times_more(code: int) -> None:
    assert attempts(StepRetries(step(), 3), [code] * 5) == 4


@pytest.mark.parametrize("code", [-32299, -32400, -32100, -32000, -32603, 0])
def test_other_failures_are_final_without_on_error(code: int) -> None:
    assert attempts(StepRetries(step(), 3), [code] * 5) == 1


def test_on_error_counts_beside_it() -> None:
    retry = step(action="retry", maxRetries=2)
    assert attempts(StepRetries(retry, 3), [FAILED] * 5) == 3
    assert attempts(StepRetries(retry, 3), [LOST, FAILED, LOST, FAILED, LOST, FAILED]) == 6
    assert attempts(StepRetries(retry, 3), [LOST] * 10) == 6


def test_none_if_the_setting_says_so() -> None:
    assert attempts(StepRetries(step(), 0), [LOST]) == 1


def test_steps_inside_a_built_in_have_been_tried_already() -> None:
    assert attempts(StepRetries(step("/builtin/iterate"), 3), [LOST]) == 1


def test_pauses_grow_to_ten_seconds() -> None:
    retries = StepRetries(step(), 10)
    pauses = [retries.pause_after(ItemError(code=LOST, message="")) or 0.0 for _ in range(6)]
    for number, pause in enumerate(pauses):
        longest = min(2.0**number, 10.0)
        assert longest / 2 <= pause <= longest
