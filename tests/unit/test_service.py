import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.errors import GatewayError, InvalidBlobId, InvalidRunId, RunNotFound, Unavailable
from gateway.model import MAX_TIMEOUT, GetParams, ItemError, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.runtime import RESULT_PAGE_BYTES
from gateway.service import DEADLINE_MARGIN, RunsService
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime, fold

ORDERS = list(ResultOrder)
ERROR = ItemError(code=-32100, message="component failed", data='{"why":1}')


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
def service(runtime: ScriptedRuntime) -> RunsService:
    return RunsService(runtime)


async def submit(service: RunsService, inputs: int = 4, **params: Any) -> RunStatus:
    flow_id = await service.put_blob(FLOW)
    return await service.submit(SubmitParams(flow_id=flow_id, inputs=["null"] * inputs, **params))


async def drive(runtime: ScriptedRuntime) -> AsyncGenerator[None, None]:
    """Take the run of four items to its end, out of order; stops after each change."""
    await runtime.start(0)
    yield
    await runtime.start(2)
    await runtime.succeed(2, '"two"')
    yield
    await runtime.fail(1, ERROR)
    yield
    await runtime.succeed(0, '"zero"')
    yield
    await runtime.cancel(3)
    yield


def indexes(status: RunStatus) -> list[int]:
    return [result.item_index for result in status.results or []]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("include_results", [False, True])
async def test_following_without_waiting_folds_to_get_at_every_moment(
    service: RunsService, runtime: ScriptedRuntime, include_results: bool, order: ResultOrder
) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, include_results=include_results, result_order=order)
    moments = 0
    async for _ in drive(runtime):
        updates = [update async for update in service.follow(params)]
        assert fold(updates) == await service.get(params)
        moments += 1
    assert moments == 5


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("include_results", [False, True])
@pytest.mark.parametrize("reads", range(1, 6))
async def test_following_to_the_end_folds_to_get_at_any_pace(
    service: RunsService, runtime: ScriptedRuntime, include_results: bool, order: ResultOrder, reads: int
) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, include_results=include_results, result_order=order)
    waiting = asyncio.create_task(service.get(params))
    async with aclosing(service.follow(params)) as stream:
        updates = [await anext(stream)]
        async for _ in drive(runtime):
            if len(updates) < reads:
                updates.append(await anext(stream))
        updates += [update async for update in stream]
    assert updates[0].status is RunState.PENDING
    assert updates[-1].status is RunState.FAILED
    assert fold(updates) == await waiting
    assert runtime.watching == 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("include_results", [False, True])
async def test_following_folds_to_get_when_time_is_up(
    service: RunsService, runtime: ScriptedRuntime, include_results: bool, order: ResultOrder
) -> None:
    run = await submit(service)
    steps = drive(runtime)
    await anext(steps)
    await anext(steps)
    params = GetParams(run_id=run.run_id, wait=True, include_results=include_results, result_order=order, timeout=0)
    updates = [update async for update in service.follow(params)]
    assert updates[-1].status is RunState.RUNNING
    assert fold(updates) == await service.get(params)
    await steps.aclose()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wait", [False, True])
async def test_a_finished_run_is_told_in_one_update(
    service: RunsService, runtime: ScriptedRuntime, wait: bool, order: ResultOrder
) -> None:
    run = await submit(service)
    async for _ in drive(runtime):
        pass
    params = GetParams(run_id=run.run_id, wait=wait, include_results=True, result_order=order)
    updates = [update async for update in service.follow(params)]
    assert updates == [await service.get(params)]
    expected = [0, 1, 2, 3] if order is ResultOrder.BY_INDEX else [2, 1, 0, 3]
    assert indexes(updates[0]) == expected


async def test_by_index_holds_a_result_back_until_all_before_it_came(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    async with aclosing(service.follow(params)) as stream:
        assert indexes(await anext(stream)) == []
        await runtime.succeed(2)
        assert indexes(await anext(stream)) == []
        await runtime.succeed(0)
        assert indexes(await anext(stream)) == [0]
        await runtime.succeed(1)
        assert indexes(await anext(stream)) == [1, 2]


async def test_by_completion_sends_a_result_when_it_comes(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True, result_order=ResultOrder.BY_COMPLETION)
    async with aclosing(service.follow(params)) as stream:
        assert indexes(await anext(stream)) == []
        await runtime.succeed(2)
        assert indexes(await anext(stream)) == [2]
        await runtime.succeed(0)
        await runtime.succeed(3)
        assert indexes(await anext(stream)) == [0, 3]


async def test_when_time_is_up_results_beyond_a_gap_come_last(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    await runtime.succeed(0)
    await runtime.succeed(2)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True, timeout=0)
    updates = [update async for update in service.follow(params)]
    assert [indexes(update) for update in updates] == [[0], [2]]


@pytest.mark.parametrize("order", ORDERS)
async def test_many_results_come_in_many_updates(
    service: RunsService, runtime: ScriptedRuntime, order: ResultOrder
) -> None:
    run = await submit(service, inputs=10)
    value = '"' + "x" * (RESULT_PAGE_BYTES // 3) + '"'
    for index in reversed(range(10)):
        await runtime.succeed(index, value)
    params = GetParams(run_id=run.run_id, include_results=True, result_order=order)
    updates = [update async for update in service.follow(params)]
    assert len(updates) == 5
    for update in updates:
        assert sum(len(result.value or "") for result in update.results or []) <= RESULT_PAGE_BYTES
    assert fold(updates) == await service.get(params)


async def test_a_result_larger_than_a_page_makes_an_update_of_its_own(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(service, inputs=3)
    for index in range(3):
        await runtime.succeed(index, '"' + "x" * RESULT_PAGE_BYTES + '"')
    params = GetParams(run_id=run.run_id, include_results=True)
    updates = [update async for update in service.follow(params)]
    assert [indexes(update) for update in updates] == [[0], [1], [2]]


async def test_a_run_of_no_items_has_succeeded_at_once(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service, inputs=0, wait=True)
    assert run.status is RunState.SUCCESS
    assert run.results == []
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    assert [update async for update in service.follow(params)] == [run]


async def test_submit_answers_at_once_without_results(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    assert run.status is RunState.PENDING
    assert run.results is None


async def test_submit_waits_for_the_results_by_index(service: RunsService, runtime: ScriptedRuntime) -> None:
    waiting = asyncio.create_task(submit(service, wait=True))
    await runtime.submitted(1)
    async for _ in drive(runtime):
        pass
    run = await waiting
    assert run.status is RunState.FAILED
    assert indexes(run) == [0, 1, 2, 3]
    assert run.results is not None
    assert run.results[1].error == ERROR


async def test_submit_answers_with_the_current_status_when_time_is_up(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(service, wait=True, timeout=0)
    assert run.status is RunState.PENDING
    assert run.results == []
    assert runtime.watching == 0


@pytest.mark.parametrize("passed", [0.0, 1000.0])
async def test_waiting_ends_before_the_deadline(service: RunsService, runtime: ScriptedRuntime, passed: float) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, timeout=MAX_TIMEOUT)
    deadline = time.monotonic() + DEADLINE_MARGIN - passed
    assert (await service.get(params, deadline=deadline)).status is RunState.PENDING
    assert [update.status async for update in service.follow(params, deadline=deadline)] == [RunState.PENDING] * 2


async def test_cancelling_ends_the_waiting_and_not_the_run(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service, inputs=1)
    waiting = asyncio.create_task(service.get(GetParams(run_id=run.run_id, wait=True)))
    await runtime.watched(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert runtime.watching == 0
    await runtime.succeed(0)
    assert (await service.get(GetParams(run_id=run.run_id, wait=True))).status is RunState.SUCCESS


async def test_leaving_a_stream_closes_its_watch(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    async with aclosing(service.follow(GetParams(run_id=run.run_id, wait=True))) as stream:
        await anext(stream)
        assert runtime.watching == 1
    assert runtime.watching == 0


async def test_a_drain_ends_waiting_but_not_reading(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True)
    waiting = asyncio.create_task(service.get(params))
    async with aclosing(service.follow(params)) as stream:
        await anext(stream)
        await runtime.watched(2)
        await runtime.drain()
        with pytest.raises(Unavailable):
            await anext(stream)
    with pytest.raises(Unavailable):
        await waiting
    assert (await service.get(GetParams(run_id=run.run_id))).status is RunState.PENDING


async def test_a_time_out_of_the_runtime_is_not_taken_for_the_end_of_waiting(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(service)
    waiting = asyncio.create_task(service.get(GetParams(run_id=run.run_id, wait=True, timeout=1000)))
    await runtime.watched(1)
    await runtime.break_down(TimeoutError("of the runtime"))
    with pytest.raises(TimeoutError, match="of the runtime"):
        await waiting


async def test_ids_are_taken_in_every_spelling(service: RunsService, runtime: ScriptedRuntime) -> None:
    blob_id = await service.put_blob(FLOW)
    digest = blob_id.removeprefix("sha256:")
    assert await service.get_blob(digest.upper()) == FLOW
    run = await service.submit(SubmitParams(flow_id=digest, inputs=[]))
    assert run.flow_id == blob_id
    assert (await service.get(GetParams(run_id=run.run_id.upper()))).run_id == run.run_id


@pytest.mark.parametrize("blob_id", ["", "sha256:", "sha256:" + "g" * 64, "0" * 63, "md5:" + "0" * 64, "0" * 64 + "\n"])
async def test_malformed_blob_ids_are_named(service: RunsService, blob_id: str) -> None:
    with pytest.raises(InvalidBlobId) as caught:
        await service.get_blob(blob_id)
    assert [violation.path for violation in caught.value.violations] == [("blob_id",)]


async def test_malformed_flow_ids_are_named(service: RunsService) -> None:
    with pytest.raises(InvalidBlobId) as caught:
        await service.submit(SubmitParams(flow_id="flow", inputs=[]))
    assert [violation.path for violation in caught.value.violations] == [("flow_id",)]


async def test_malformed_and_unknown_run_ids(service: RunsService) -> None:
    cases: list[tuple[str, type[GatewayError]]] = [("run", InvalidRunId), (MISSING_RUN, RunNotFound)]
    for run_id, error in cases:
        with pytest.raises(error):
            await service.get(GetParams(run_id=run_id))
        for wait in (False, True):
            async with aclosing(service.follow(GetParams(run_id=run_id, wait=wait))) as stream:
                with pytest.raises(error):
                    await anext(stream)
