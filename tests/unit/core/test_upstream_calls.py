"""How calls on a runtime elsewhere are counted."""

import asyncio

import pytest

from gateway.core.errors import NotFound, Unavailable
from gateway.core.upstream_calls import UpstreamCalls


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(NotFound("no"), "error"), (Unavailable("away"), "unavailable"), (asyncio.CancelledError(), "cancelled")],
)
def test_an_error_counts_as_what_it_says_of_the_upstream(error: BaseException, outcome: str) -> None:
    calls = UpstreamCalls("test")
    before = {name: cell.value for name, cell in calls.cells.items()}
    with pytest.raises(type(error)), calls.call():
        raise error
    changed = {name for name, cell in calls.cells.items() if cell.value != before[name]}
    assert changed == {outcome}


def test_an_answer_that_is_an_error_counts_as_one() -> None:
    calls = UpstreamCalls("test")
    ok, error, observed = calls.cells["ok"].value, calls.cells["error"].value, sum(calls.seconds.counts)
    with calls.call():
        pass
    with calls.call() as call:
        call.failed = True
    assert (calls.cells["ok"].value, calls.cells["error"].value) == (ok + 1, error + 1)
    assert sum(calls.seconds.counts) == observed + 2
