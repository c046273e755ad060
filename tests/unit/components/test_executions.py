"""How executions of components are counted."""

import asyncio

import pytest

from gateway.components.error import Code, ComponentError
from gateway.components.executions import Executions


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ComponentError(-1, "its own"), "error"),
        (ComponentError(Code.COMPONENT_NOT_FOUND, "no such component"), "error"),
        (ComponentError(Code.TIMED_OUT, "too long"), "timeout"),
        (ComponentError(Code.CONNECTION_LOST, "gone"), "unavailable"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_an_execution_counts_once_under_how_it_ended(error: BaseException, outcome: str) -> None:
    executions = Executions("/test")
    before = {name: cell.value for name, cell in executions.cells.items()}
    with pytest.raises(type(error)), executions.counted():
        raise error
    after = {name: cell.value for name, cell in executions.cells.items()}
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {outcome: 1}


def test_an_execution_takes_its_time_into_the_histogram() -> None:
    executions = Executions("/test")
    before = sum(executions.seconds.counts), executions.cells["ok"].value
    with executions.counted():
        pass
    assert (sum(executions.seconds.counts), executions.cells["ok"].value) == (before[0] + 1, before[1] + 1)
