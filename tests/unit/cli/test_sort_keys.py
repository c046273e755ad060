"""The orders of runs."""

import pytest

from gateway.cli.kept_runs import KeptRuns
from gateway.cli.sort_keys import SortKey
from gateway.client import ItemStatistics, RunState, RunStatus, SetEvent, SetUpdate

RUNS = [
    RunStatus("a", "f2", RunState.RUNNING, ItemStatistics(total=4, success=1), created_at_ns=1),
    RunStatus("b", "f3", RunState.PENDING, ItemStatistics(total=9), created_at_ns=2, flow_name="a flow"),
    RunStatus("c", "f1", RunState.RUNNING, ItemStatistics(total=2, failed=1, cancelled=1), created_at_ns=3),
]


@pytest.mark.parametrize(
    ("key", "order"),
    [
        (SortKey.NEWEST, "cba"),
        (SortKey.OLDEST, "abc"),
        (SortKey.PROGRESS, "cab"),
        (SortKey.ITEMS, "bac"),
        (SortKey.STATE, "bca"),
        (SortKey.FLOW, "bca"),
    ],
)
def test_runs_are_in_order(key: SortKey, order: str) -> None:
    kept = KeptRuns(10)
    for run in RUNS:
        kept.add(SetUpdate(SetEvent.ADDED, run.run_id, run, 1, b"t"))
    assert "".join(run.run_id for run in kept.seen(10, key=key).runs) == order
    assert "".join(run.run_id for run in kept.seen(1, 1, key).runs) == order[1]
    assert kept.seen(2, 9, key).runs == []
