"""Windows of runs, against all runs that there are."""

import re
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.run_filter import RunOrder
from gateway.runtimes.temporal.run_windows import MOST, run_windows
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns

NOW = 1_800_000_000_000


class ScriptedVisibility:
    """Has runs with times of creation, in milliseconds."""

    def __init__(self, created: list[int]) -> None:
        self.created = created
        self.calls = 0
        self.most = 0

    def _found(self, query: str) -> list[int]:
        self.calls += 1
        low, high = (round(datetime.fromisoformat(text).timestamp() * 1e3) for text in re.findall("'(.*?)'", query))
        return [moment for moment in self.created if low <= moment < high]

    async def count(self, query: str) -> int:
        return len(self._found(query))

    async def all(self, query: str) -> AsyncGenerator[list[VisibleRun], None]:
        found = self._found(query)
        self.most = max(self.most, len(found))
        yield cast("list[VisibleRun]", found)


@given(
    st.lists(st.integers(0, NOW) | st.integers(NOW - 1_000, NOW), max_size=50),
    st.integers(0, NOW),
    st.integers(0, 1_000),
    st.sampled_from(RunOrder),
)
async def test_all_runs_come_in_order(few: list[int], begin: int, many: int, order: RunOrder) -> None:
    visible = ScriptedVisibility([*few, *(begin + number // 3 for number in range(many))])
    found: list[int] = []
    windows = run_windows(cast("VisibleRuns", visible), "", 0, NOW + 1_000, order=order)
    async for window in windows:
        moments = sorted(cast("list[int]", window.runs), reverse=order is RunOrder.NEWEST_FIRST)
        assert all(window.low <= moment < window.high for moment in moments)
        found += moments
    assert found == sorted(visible.created, reverse=order is RunOrder.NEWEST_FIRST)
    assert visible.most <= MOST
    assert visible.calls < 60 * (len(few) + 5)


async def test_the_first_page_of_many_runs_takes_few_calls() -> None:
    visible = ScriptedVisibility([NOW - 100_000 + number for number in range(100_000)])
    for order in RunOrder:
        visible.calls = 0
        async for window in run_windows(cast("VisibleRuns", visible), "", 0, NOW + 60_000, order=order):
            if window.runs:
                break
        assert visible.calls < 60
