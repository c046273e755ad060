from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.control import ItemsParams, ListParams
from gateway.core.errors import InvalidParams, InvalidRunId, RunNotFound, Unsupported
from gateway.core.items import MAX_STEPS, Item, ItemPage, StepState, StepStatus
from gateway.core.model import RunState, SubmitParams
from gateway.core.page_sizes import item_bytes, run_bytes
from gateway.core.page_token import binding_of_items, page_token
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RESULT_PAGE_BYTES, RunPage
from gateway.runs.listing import AT_ONCE, MOST_BYTES, RunLists
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime


async def submitted(runtime: ScriptedRuntime, count: int, **params: Any) -> list[str]:
    flow_id = await runtime.put_blob(FLOW)
    fields = {"inputs": ["1"], **params}
    return [(await runtime.submit(SubmitParams(flow_id=flow_id, **fields), "")).status.run_id for _ in range(count)]


async def listed(lists: RunLists, **params: Any) -> list[list[str]]:
    """The ids of the runs of each page."""
    pages = []
    token = ""
    while True:
        page = await lists.runs(ListParams(page_token=token, **params))
        pages.append([run.run_id for run in page.runs])
        token = page.next_page_token
        if not token:
            return pages


@pytest.mark.parametrize("order", RunOrder)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000, 5_000])
async def test_pages_hold_each_run_once_in_their_order(order: RunOrder, size: int) -> None:
    runtime = ScriptedRuntime()
    run_ids = await submitted(runtime, 7)
    pages = await listed(RunLists(runtime), page_size=size, order=order)
    if order is RunOrder.NEWEST_FIRST:
        run_ids.reverse()
    assert [run_id for page in pages for run_id in page] == run_ids
    assert [len(page) for page in pages] == [min(size, 7)] * (7 // min(size, 7)) + [7 % min(size, 7)] * (
        7 % min(size, 7) > 0
    )


@pytest.mark.parametrize(("asked", "length"), [(0, 100), (1_000, 1_000), (1_001, 1_000), (2**31 - 1, 1_000)])
async def test_the_size_of_a_page_is_bounded(asked: int, length: int) -> None:
    runtime = ScriptedRuntime()
    await submitted(runtime, 1_001)
    lists = RunLists(runtime)
    assert len((await lists.runs(ListParams(page_size=asked))).runs) == length
    assert max(runtime.listed) == AT_ONCE


class Generous(ScriptedRuntime):
    """Its pages have one run more than was asked for."""

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        return await super().list_runs(wanted, order, cursor, limit + 1)


async def test_a_runtime_that_gives_more_than_was_asked_for_ends_the_page() -> None:
    runtime = Generous()
    run_ids = await submitted(runtime, 10)
    assert await listed(RunLists(runtime), page_size=3, order=RunOrder.OLDEST_FIRST) == [
        run_ids[:4],
        run_ids[4:8],
        run_ids[8:],
    ]


async def test_runs_are_counted_if_that_is_asked_for() -> None:
    runtime = ScriptedRuntime()
    await submitted(runtime, 3)
    await runtime.succeed(0)
    lists = RunLists(runtime)
    wanted = RunFilter(states=(RunState.PENDING,))
    assert (await lists.runs(ListParams(filter=wanted, page_size=1))).total_size is None
    assert (await lists.runs(ListParams(filter=wanted, page_size=1, include_total=True))).total_size == 2


@pytest.mark.parametrize("letter", ["x", "\N{LINEAR B SYLLABLE B008 A}"])
async def test_a_page_of_runs_with_long_labels_ends_early(letter: str) -> None:
    runtime = ScriptedRuntime()
    run_ids = await submitted(runtime, 250, labels={f"{index:02}{letter * 253}": letter * 255 for index in range(32)})
    pages = await listed(RunLists(runtime), page_size=1_000, order=RunOrder.OLDEST_FIRST)
    assert [run_id for page in pages for run_id in page] == run_ids
    size = run_bytes((await runtime.get(run_ids[0])).status)
    sizes = [size * len(page) for page in pages]
    assert max(sizes) <= MOST_BYTES
    assert min(sizes[:-1]) >= RESULT_PAGE_BYTES // 2


async def test_a_token_of_another_list_is_refused() -> None:
    runtime = ScriptedRuntime()
    await submitted(runtime, 2)
    lists = RunLists(runtime)
    token = (await lists.runs(ListParams(page_size=1))).next_page_token
    for other in (
        ListParams(page_token=token, order=RunOrder.OLDEST_FIRST),
        ListParams(page_token=token, filter=RunFilter(roots_only=True)),
        ListParams(page_token=token[:-1]),
    ):
        with pytest.raises(InvalidParams) as caught:
            await lists.runs(other)
        assert caught.value.violations[0].path == ("page_token",)


async def test_pages_of_items_come_by_index() -> None:
    runtime = ScriptedRuntime()
    (run_id,) = await submitted(runtime, 1, inputs=[str(index) for index in range(250)])
    await runtime.succeed(3, '"three"')
    lists = RunLists(runtime)
    items, token, sizes = [], "", []
    while True:
        page = await lists.items(ItemsParams(run_id=run_id.upper(), page_token=token, include_inputs=True))
        items += page.items
        sizes.append(len(page.items))
        token = page.next_page_token
        if not token:
            break
    assert sizes == [100, 100, 50]
    assert [(item.item_index, item.input) for item in items] == [(index, str(index)) for index in range(250)]
    assert items[3].result is not None
    assert items[3].result.value == '"three"'
    finished = await lists.items(ItemsParams(run_id=run_id, states=(RunState.SUCCESS,)))
    assert [item.item_index for item in finished.items] == [3]
    assert finished.items[0].input is None


class LargeItems(ScriptedRuntime):
    """A runtime whose items have these sizes; it does not look at them itself."""

    def __init__(self, inputs: list[int], steps: int) -> None:
        super().__init__()
        self._inputs = inputs
        self._steps = tuple(StepStatus(f"step{index}", "/builtin/openai", StepState.SUCCESS) for index in range(steps))

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        rest = range(start, len(self._inputs))
        items = [
            Item(index, RunState.RUNNING, f'"{"x" * self._inputs[index]}"', steps=self._steps) for index in rest[:limit]
        ]
        return ItemPage(items, start + limit if len(rest) > limit else None)


@given(st.lists(st.sampled_from([0, 1_000, 400_000, RESULT_PAGE_BYTES, 2 * RESULT_PAGE_BYTES]), max_size=12))
@settings(max_examples=30)
async def test_a_page_of_items_holds_a_mebibyte_or_one_item(inputs: list[int]) -> None:
    lists = RunLists(LargeItems(inputs, 0))
    await check_pages(lists, len(inputs))


async def test_steps_count_for_the_size_of_a_page() -> None:
    lists = RunLists(LargeItems([0] * 200, MAX_STEPS))
    await check_pages(lists, 200)


async def check_pages(lists: RunLists, count: int) -> None:
    indexes: list[int] = []
    token = ""
    while True:
        page = await lists.items(ItemsParams(run_id=MISSING_RUN, page_size=1_000, page_token=token))
        assert len(page.items) == 1 or sum(map(item_bytes, page.items)) <= RESULT_PAGE_BYTES
        indexes += [item.item_index for item in page.items]
        token = page.next_page_token
        if not token:
            break
    assert indexes == list(range(count))


@pytest.mark.parametrize("cursor", ["x", "-1", "1" * 19, "1" * 5_000, "1.0", chr(0x661)])
async def test_a_forged_index_is_refused(cursor: str) -> None:
    params = ItemsParams(run_id=MISSING_RUN)
    token = page_token(cursor, binding_of_items(MISSING_RUN, params))
    with pytest.raises(InvalidParams) as caught:
        await RunLists(ScriptedRuntime()).items(ItemsParams(run_id=MISSING_RUN, page_token=token))
    assert caught.value.violations[0].path == ("page_token",)


async def test_what_is_wrong_is_told() -> None:
    runtime = ScriptedRuntime()
    lists = RunLists(runtime)
    with pytest.raises(InvalidRunId):
        await lists.items(ItemsParams(run_id="run"))
    with pytest.raises(RunNotFound):
        await lists.items(ItemsParams(run_id=MISSING_RUN))
    runtime.defect = Unsupported("the engine cannot list runs")
    with pytest.raises(Unsupported):
        await lists.runs(ListParams())
