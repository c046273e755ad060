import pytest
from msgspec.structs import replace

from gateway.core.model import ResultOrder, SubmitParams
from gateway.core.runtime import Page, Snapshot
from gateway.runs.run_answer import ResultPages
from tests.support.scripted_runtime import FLOW, ScriptedRuntime


async def finished(runtime: ScriptedRuntime, *indexes: int) -> Snapshot:
    params = SubmitParams(flow_id=await runtime.put_blob(FLOW), inputs=["null"] * 10)
    await runtime.submit(params, "")
    for index in indexes:
        await runtime.succeed(index, str(index))
    return await runtime.get(runtime.run_ids[0])


async def pages_of(pages: ResultPages) -> list[list[int]]:
    found = []
    while page := await pages.next():
        found.append([result.item_index for result in page])
        assert pages.ended == (sum(map(len, found)) == 5)
    assert pages.ended
    assert await pages.next() == []
    return found


@pytest.mark.parametrize(
    ("order", "expected"), [(ResultOrder.BY_INDEX, [0, 1, 2, 5, 7]), (ResultOrder.BY_COMPLETION, [7, 0, 5, 2, 1])]
)
async def test_results_come_in_pages_and_in_order(order: ResultOrder, expected: list[int]) -> None:
    runtime = ScriptedRuntime()
    runtime.page_length = 2
    snapshot = await finished(runtime, 7, 0, 5, 2, 1)
    pages = ResultPages(runtime, snapshot, order)
    await runtime.succeed(3)
    assert await pages_of(pages) == [expected[:2], expected[2:4], expected[4:]]


async def test_results_at_hand_are_not_read() -> None:
    runtime = ScriptedRuntime()
    snapshot = await finished(runtime, 0, 1, 2, 3, 4)
    page = Page(ResultOrder.BY_INDEX, 0, 10, 0, snapshot.completions)
    results = await runtime.results(runtime.run_ids[0], page)
    runtime.pages.clear()
    pages = ResultPages(runtime, replace(snapshot, results=results), ResultOrder.BY_INDEX)
    assert await pages_of(pages) == [[0, 1, 2, 3, 4]]
    assert runtime.pages == []


async def test_a_run_without_results_has_no_page() -> None:
    runtime = ScriptedRuntime()
    pages = ResultPages(runtime, await finished(runtime), ResultOrder.BY_INDEX)
    assert pages.ended
    assert await pages.next() == []
