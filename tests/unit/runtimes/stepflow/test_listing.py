"""Lists of an engine's runs against a model: whatever comes in between, each run is on one page, in its place."""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidParams, Unsupported
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.runtimes.stepflow import listing as module
from gateway.runtimes.stepflow.listing import Listing
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.told_runs import ToldRuns
from gateway.storage.run_notes import MemoryNotes, SubmitNote


class EngineList(Runs):
    """A list as an engine gives it: the latest time first, and runs of the same time in any order that stays."""

    def __init__(self) -> None:
        self.told = ToldRuns(MemoryNotes())
        self.runs: list[RunStatus] = []
        self.asked: list[str] = []
        self.news: list[list[RunStatus]] = []
        """What comes after each of the next requests."""

    async def listed(self, query: str) -> list[RunStatus]:
        self.asked.append(query)
        given = {name: values[-1] for name, values in parse_qs(query).items()}
        runs = sorted(self.runs, key=lambda run: (-run.created_at, run.run_id[-1], run.run_id))
        if name := given.get("flowName"):
            runs = [run for run in runs if run.flow_name == name]
        start = int(given.get("offset", 0))
        answer = runs[start : start + int(given["limit"])]
        if self.news:
            self.runs += self.news.pop(0)
        return answer


def run(number: int, at: int, **fields: Any) -> RunStatus:
    return RunStatus(
        run_id=f"01a20377-4792-7b82-a1a4-{number:012x}",
        flow_id=f"sha256:{'a' * 64}",
        created_at=at,
        items=ItemStatistics(total=1),
        **{"status": RunState.RUNNING, **fields},
    )


async def all_pages(runs: EngineList, wanted: RunFilter, order: RunOrder, limit: int) -> list[RunStatus]:
    listing, found, cursor = Listing(runs), list[RunStatus](), ""
    while True:
        page, cursor = await listing.page(wanted, order, cursor, limit)
        assert len(page) <= limit
        found += page
        if not cursor:
            return found


TIMES = st.lists(st.integers(0, 6), max_size=40)
STATES = st.sampled_from([RunState.RUNNING, RunState.SUCCESS])


@given(
    times=TIMES,
    news=st.lists(st.integers(0, 3), max_size=8),
    window=st.integers(1, 5),
    limit=st.integers(1, 9),
    order=st.sampled_from(RunOrder),
    after=st.none() | st.integers(0, 7),
    before=st.none() | st.integers(0, 8),
    states=st.lists(STATES, max_size=1),
)
@settings(max_examples=150, deadline=None)
def test_pages_are_what_a_sort_gives(
    times: list[int],
    news: list[int],
    window: int,
    limit: int,
    order: RunOrder,
    after: int | None,
    before: int | None,
    states: list[RunState],
) -> None:
    runs = EngineList()
    runs.runs = [
        run(number * 7919 % 1009, at, status=RunState.SUCCESS if number % 3 else RunState.RUNNING)
        for number, at in enumerate(times)
    ]
    wanted = RunFilter(states=tuple(states), created_after=after, created_before=before)
    expected = [each for each in runs.runs if wanted.matches(each)]
    expected.sort(key=lambda each: (each.created_at, each.run_id), reverse=order is RunOrder.NEWEST_FIRST)
    # Runs come while pages are read, after all others: an engine gives times that do not go back.
    latest = max(times, default=0)
    number = 2_000
    for count in news:
        runs.news.append([run(number + index, latest + 1) for index in range(count)])
        number += count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", window)
        patch.setattr(module, "MAX_SCANNED", 7)
        found = asyncio.run(all_pages(runs, wanted, order, limit))
    assert [each.run_id for each in found if each.created_at <= latest] == [each.run_id for each in expected]
    assert len({each.run_id for each in found}) == len(found)


async def test_runs_that_come_while_the_end_of_the_list_is_sought() -> None:
    runs = EngineList()
    runs.runs = [run(0, 0)]
    runs.news = [[], [run(1, 1), run(2, 1)]]
    page, _ = await Listing(runs).page(RunFilter(), RunOrder.OLDEST_FIRST, "", 1)
    assert [each.created_at for each in page] == [0]


async def test_a_page_far_back_costs_a_few_requests() -> None:
    runs = EngineList()
    runs.runs = [run(number, number // 3) for number in range(20_000)]
    listing, cursor = Listing(runs), ""
    for _ in range(10):
        _, cursor = await listing.page(RunFilter(), RunOrder.NEWEST_FIRST, cursor, 1_000)
    runs.runs += [run(20_000 + number, 10_000) for number in range(5)]
    runs.asked.clear()
    page, _ = await listing.page(RunFilter(), RunOrder.NEWEST_FIRST, cursor, 100)
    assert page[0].run_id == run(9_999, 0).run_id
    assert len(runs.asked) < 12


async def test_what_is_looked_through_for_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = EngineList()
    runs.runs = [run(number, number) for number in range(5_000)]
    page, cursor = await Listing(runs).page(RunFilter(flow_label="x"), RunOrder.NEWEST_FIRST, "", 100)
    assert page == []
    assert cursor
    assert len(runs.asked) < 50
    assert await Listing(runs).count(RunFilter()) == 5_000
    monkeypatch.setattr(module, "MAX_COUNTED", 4_000)
    with pytest.raises(Unsupported, match="4,000"):
        await Listing(runs).count(RunFilter())


async def test_filters_see_what_the_gateway_keeps() -> None:
    runs = EngineList()
    runs.runs = [run(number, number, flow_name="a b") for number in range(3)]
    ids = [each.run_id for each in runs.runs]
    await runs.told.notes.submitted(ids[1], SubmitNote("label", {"team": "x"}, ids[0], ids[0], 1))
    for wanted in (
        RunFilter(labels={"team": "x"}),
        RunFilter(flow_label="lab*"),
        RunFilter(parent_run_id=ids[0]),
        RunFilter(root_run_id=ids[0], flow_name="a b"),
    ):
        found = await all_pages(runs, wanted, RunOrder.NEWEST_FIRST, 10)
        assert [(each.run_id, each.labels, each.depth) for each in found] == [(ids[1], {"team": "x"}, 1)]
    roots = await all_pages(runs, RunFilter(roots_only=True), RunOrder.OLDEST_FIRST, 10)
    assert [each.run_id for each in roots] == [ids[0], ids[2]]


@pytest.mark.parametrize("cursor", ["x", "[1]", '[1,"a","b"]', "\ud800"])
async def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidParams, match="page_token"):
        await Listing(EngineList()).page(RunFilter(), RunOrder.NEWEST_FIRST, cursor, 10)
