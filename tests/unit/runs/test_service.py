import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from random import Random
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.errors import GatewayError, Internal, InvalidBlobId, InvalidRunId, RunNotFound, Unavailable
from gateway.core.model import (
    MAX_TIMEOUT,
    MIN_HEARTBEAT,
    GetParams,
    ItemError,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
)
from gateway.core.position import Position, ResumePoint
from gateway.core.runtime import RESULT_PAGE_BYTES, Snapshot
from gateway.runs.service import RunsService
from gateway.runs.update import Update
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime, fold
from tests.support.tasks import all_ended

ORDERS = list(ResultOrder)
ERROR = ItemError(code=-32100, message="component failed", data='{"why":1}')


Action = Literal["start", "succeed", "fail", "cancel", "read", "cut", "time out"]


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def service(runtime: ScriptedRuntime) -> AsyncIterator[RunsService]:
    service = RunsService(runtime, grace=0)
    yield service
    assert len(service.hub) == 0
    await runtime.watched(0)
    await service.close()


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
    await runtime.cancel_item(3)
    yield


def statuses(updates: list[Update]) -> list[RunStatus]:
    return [update.status for update in updates]


def indexes(of: Update | RunStatus) -> list[int]:
    status = of.status if isinstance(of, Update) else of
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
        assert fold(statuses(updates)) == await service.get(params)
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
    assert updates[0].status.status is RunState.PENDING
    assert updates[-1].status.status is RunState.FAILED
    assert fold(statuses(updates)) == await waiting
    assert runtime.opened == 1


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
    assert updates[-1].status.status is RunState.RUNNING
    assert fold(statuses(updates)) == await service.get(params)
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
    assert statuses(updates) == [await service.get(params)]
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
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    updates = [update async for update in service.follow(params, answer_by=time.monotonic())]
    assert [indexes(update) for update in updates] == [[0], [2]]


async def test_to_wait_for_no_time_is_to_ask_for_the_current_state(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    async with aclosing(service.follow(params)) as following:
        await anext(following)
        await runtime.succeed(0)
        await runtime.succeed(2)
        now = replace(params, timeout=0.0)
        updates = [update async for update in service.follow(now)]
    assert [(update.status.items.success, indexes(update)) for update in updates] == [(2, [0, 2])]


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
        assert sum(len(result.value or "") for result in update.status.results or []) <= RESULT_PAGE_BYTES
    assert fold(statuses(updates)) == await service.get(params)


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
    assert [update.status async for update in service.follow(params)] == [run]


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


@pytest.mark.parametrize("passed", [0.0, 1000.0])
async def test_waiting_ends_when_its_time_is_up(service: RunsService, runtime: ScriptedRuntime, passed: float) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, timeout=MAX_TIMEOUT)
    answer_by = time.monotonic() - passed
    assert (await service.get(params, answer_by=answer_by)).status is RunState.PENDING
    states = [update.status.status async for update in service.follow(params, answer_by=answer_by)]
    assert states == [RunState.PENDING] * 2


async def test_cancelling_ends_the_waiting_and_not_the_run(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service, inputs=1)
    waiting = asyncio.create_task(service.get(GetParams(run_id=run.run_id, wait=True)))
    await runtime.watched(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(service.hub) == 0
    await runtime.watched(0)
    await runtime.succeed(0)
    assert (await service.get(GetParams(run_id=run.run_id, wait=True))).status is RunState.SUCCESS


async def test_leaving_a_stream_closes_its_watch(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    async with aclosing(service.follow(GetParams(run_id=run.run_id, wait=True))) as stream:
        await anext(stream)
        assert runtime.watching == 1
    assert len(service.hub) == 0
    await runtime.watched(0)


async def test_a_drain_ends_waiting_but_not_reading(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True)
    waiting = asyncio.create_task(service.get(params))
    async with aclosing(service.follow(params)) as stream:
        await anext(stream)
        await runtime.drain()
        with pytest.raises(Unavailable):
            await anext(stream)
    with pytest.raises(Unavailable):
        await waiting
    assert (await service.get(GetParams(run_id=run.run_id))).status is RunState.PENDING


async def test_a_time_out_of_the_runtime_is_not_taken_for_the_end_of_waiting(
    service: RunsService, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    run = await submit(service)
    waiting = asyncio.create_task(service.get(GetParams(run_id=run.run_id, wait=True, timeout=1000)))
    await runtime.watched(1)
    await runtime.break_down(TimeoutError("of the runtime"))
    with pytest.raises(Internal):
        await waiting
    assert "of the runtime" in caplog.text


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


class Client:
    """Follows a run on streams that break, and remembers what it has received."""

    def __init__(self, service: RunsService, params: GetParams) -> None:
        self.updates: list[Update] = []
        self._service = service
        self._params = params
        self._streaming: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Give a stream, a new one if there is none, a turn of the loop."""
        if self._streaming is None:
            self._streaming = asyncio.create_task(self._stream(self._params))
        await asyncio.sleep(0)

    async def cut(self) -> None:
        """Break the stream."""
        if self._streaming is not None:
            self._streaming.cancel()
            await asyncio.gather(self._streaming, return_exceptions=True)
            self._streaming = None

    async def time_out(self) -> None:
        """A stream that ends with the current state."""
        await self.cut()
        await self._stream(replace(self._params, timeout=0.0))

    async def end(self) -> None:
        """Read to the end of the run."""
        await self.read()
        assert self._streaming is not None
        await self._streaming

    async def _stream(self, params: GetParams) -> None:
        if self.updates:
            token = ResumePoint(self.updates[-1].position, self.updates[-1].revision).token(params.run_id)
            params = replace(params, resume_token=token)
        async with aclosing(self._service.follow(params)) as stream:
            async for update in stream:
                self.updates.append(update)


@given(
    inputs=st.integers(0, 6),
    order=st.sampled_from(ORDERS),
    include_results=st.booleans(),
    page_length=st.integers(1, 3),
    actions=st.lists(st.sampled_from(get_args(Action)), max_size=40),
    choices=st.randoms(use_true_random=False),
)
async def test_streams_that_break_and_go_on_fold_to_get(
    inputs: int, order: ResultOrder, include_results: bool, page_length: int, actions: list[Action], choices: Random
) -> None:
    runtime = ScriptedRuntime()
    runtime.page_length = page_length
    service = RunsService(runtime, grace=0)
    run = await submit(service, inputs)
    params = GetParams(run_id=run.run_id, wait=True, include_results=include_results, result_order=order)
    client = Client(service, params)
    unfinished = list(range(inputs))
    choices.shuffle(unfinished)
    finish: dict[Action, Callable[[int], Awaitable[None]]] = {
        "succeed": runtime.succeed,
        "cancel": runtime.cancel_item,
        "fail": partial(runtime.fail, error=ERROR),
    }
    for action in actions:
        if action == "read":
            await client.read()
        elif action == "cut":
            await client.cut()
        elif action == "time out":
            await client.time_out()
        elif unfinished and action == "start":
            await runtime.start(unfinished[-1])
        elif unfinished:
            await finish[action](unfinished.pop())
    while unfinished:
        await runtime.succeed(unfinished.pop())
    await client.end()
    folded = fold(statuses(client.updates))
    if folded.results is not None and order is ResultOrder.BY_INDEX and "time out" in actions:
        folded.results.sort(key=lambda result: result.item_index)
    assert folded == await service.get(replace(params, wait=False))
    assert not any(update.restarted for update in client.updates)
    assert len(service.hub) == 0
    await service.close()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wait", [False, True])
async def test_a_stream_goes_on_after_any_of_its_messages(
    service: RunsService, runtime: ScriptedRuntime, wait: bool, order: ResultOrder
) -> None:
    run = await submit(service)
    async for _ in drive(runtime):
        pass
    runtime.page_length = 1
    params = GetParams(run_id=run.run_id, wait=wait, include_results=True, result_order=order)
    uncut = [update async for update in service.follow(params)]
    assert len(uncut) == 4
    for index, update in enumerate(uncut, 1):
        token = ResumePoint(update.position, update.revision).token(run.run_id)
        resumed = replace(params, resume_token=token)
        rest = [update async for update in service.follow(resumed)]
        assert fold(statuses(uncut[:index] + rest)) == await service.get(params)


async def test_the_end_of_a_sweep_is_not_an_update_of_its_own(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    await runtime.succeed(1)
    await runtime.succeed(2)
    runtime.page_length = 1
    updates = [update async for update in service.follow(GetParams(run_id=run.run_id, include_results=True))]
    assert [indexes(update) for update in updates] == [[1], [2]]


@pytest.mark.parametrize("include_results", [False, True])
@pytest.mark.parametrize("wait", [False, True])
async def test_a_token_that_is_not_understood_starts_anew(
    service: RunsService, runtime: ScriptedRuntime, wait: bool, include_results: bool
) -> None:
    run = await submit(service)
    async for _ in drive(runtime):
        pass
    runtime.page_length = 1
    params = GetParams(run_id=run.run_id, wait=wait, include_results=include_results)
    tokens = [
        b"x",
        b"x" * 10_000,
        ResumePoint(Position(ResultOrder.BY_INDEX, indexes=2)).token(MISSING_RUN),
        ResumePoint(Position(ResultOrder.BY_COMPLETION, completion_offset=2)).token(run.run_id),
        ResumePoint(Position(ResultOrder.BY_INDEX, indexes=5)).token(run.run_id),
        ResumePoint(Position(ResultOrder.BY_INDEX, indexes=2), 1000).token(run.run_id),
    ]
    for token in tokens:
        updates = [update async for update in service.follow(replace(params, resume_token=token))]
        assert [update.restarted for update in updates] == [True] + [False] * (len(updates) - 1)
        assert fold(statuses(updates)) == await service.get(params)
    updates = [update async for update in service.follow(params)]
    assert not any(update.restarted for update in updates)


async def test_a_token_of_a_server_that_knows_more_is_understood(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    async with aclosing(service.follow(params)) as first:
        await anext(first)
        await runtime.succeed(0)
        with service.hub.watch(run.run_id) as watch:
            state = watch.latest()
            assert state is not None
            assert state.completions == 0
        token = ResumePoint(Position(ResultOrder.BY_INDEX, indexes=1), 2).token(run.run_id)
        async with aclosing(service.follow(replace(params, resume_token=token))) as second:
            update = await anext(second)
            assert (update.restarted, update.status.items.success, indexes(update)) == (False, 1, [])
            await runtime.succeed(1)
            update = await anext(second)
            assert (update.status.items.success, indexes(update)) == (2, [1])


class LateWatches(ScriptedRuntime):
    """Its watches show the first state only, as those of a process that hears nothing more from its upstream."""

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        async with aclosing(super().watch(run_id)) as states:
            yield await anext(states)
        await asyncio.Event().wait()


@pytest.mark.parametrize("include_results", [False, True])
@pytest.mark.parametrize("limit", [None, 0.001])
async def test_the_runtime_is_asked_for_a_state_that_a_watch_does_not_show(
    monkeypatch: pytest.MonkeyPatch, include_results: bool, limit: float | None
) -> None:
    monkeypatch.setattr("gateway.runs.follower.CATCH_UP_SECONDS", 3600.0 if limit else 0.001)
    runtime = LateWatches()
    service = RunsService(runtime, grace=0)
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, include_results=include_results)
    async with aclosing(service.follow(params)) as late:
        assert (await anext(late)).revision == 1
        await runtime.succeed(0)
        await runtime.succeed(1)
        token = ResumePoint(Position(ResultOrder.BY_INDEX, indexes=1 if include_results else 0), 3).token(run.run_id)
        resumed = replace(params, resume_token=token, timeout=limit)
        async with aclosing(service.follow(resumed)) as stream:
            update = await anext(stream)
            assert (update.restarted, update.revision, update.status.items.success) == (False, 3, 2)
            assert indexes(update) == ([1] if include_results else [])
    await service.close()


async def test_a_state_that_nobody_knows_any_more_starts_the_stream_anew(
    monkeypatch: pytest.MonkeyPatch, service: RunsService, runtime: ScriptedRuntime
) -> None:
    monkeypatch.setattr("gateway.runs.follower.CATCH_UP_SECONDS", 0.001)
    run = await submit(service)
    await runtime.succeed(0)
    token = ResumePoint(Position(ResultOrder.BY_INDEX, indexes=1), 1000).token(run.run_id)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True, resume_token=token)
    async with aclosing(service.follow(params)) as stream:
        update = await anext(stream)
        assert (update.restarted, update.revision, indexes(update)) == (True, 2, [0])


async def test_a_stream_without_results_keeps_the_place_of_its_token(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(service)
    await runtime.succeed(0)
    position = Position(ResultOrder.BY_INDEX, indexes=1)
    params = GetParams(run_id=run.run_id, wait=True, resume_token=ResumePoint(position).token(run.run_id))
    async with aclosing(service.follow(params)) as stream:
        assert (await anext(stream)).position == position
        await runtime.succeed(1)
        assert (await anext(stream)).position == position


@pytest.mark.parametrize("include_results", [False, True])
async def test_an_idle_stream_shows_that_it_lives(
    service: RunsService, runtime: ScriptedRuntime, include_results: bool
) -> None:
    run = await submit(service)
    await runtime.succeed(0)
    params = GetParams(
        run_id=run.run_id, wait=True, include_results=include_results, heartbeat_interval=MIN_HEARTBEAT, timeout=3600
    )
    async with aclosing(service.follow(params)) as stream:
        first = await anext(stream)
        for _ in range(2):
            update = await anext(stream)
            assert update.heartbeat
            assert not update.status.results
            assert (update.revision, update.position, update.prefix) == (first.revision, first.position, 1)
        await runtime.succeed(1)
        while (update := await anext(stream)).heartbeat:
            pass
        assert indexes(update) == ([1] if include_results else [])


async def test_time_is_up_before_a_heartbeat_is_due(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, heartbeat_interval=3600, timeout=0.001)
    assert [update.heartbeat async for update in service.follow(params)] == [False, False]


async def test_time_is_up_also_when_the_run_never_rests(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    async with aclosing(service.follow(params, answer_by=time.monotonic())) as stream:
        await anext(stream)
        with service.hub.watch(run.run_id) as watch:
            await watch.changed()
            await runtime.succeed(2)
            await watch.changed()
        assert [indexes(update) async for update in stream] == [[2]]


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_that_is_cancelled_at_any_point_leaves_nothing(
    service: RunsService, runtime: ScriptedRuntime, turns: int
) -> None:
    run = await submit(service)
    await runtime.succeed(0)
    client = Client(service, GetParams(run_id=run.run_id, wait=True, include_results=True, heartbeat_interval=3600))
    waiting = asyncio.create_task(service.get(GetParams(run_id=run.run_id, wait=True)))
    for _ in range(turns):
        await client.read()
    waiting.cancel()
    await client.cut()
    assert len(service.hub) == 0
    await all_ended()


async def test_all_who_wait_for_a_run_share_one_watch(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service, inputs=1)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    clients = [Client(service, params) for _ in range(20)]
    for client in clients:
        await client.read()
    waiting = [asyncio.create_task(service.get(params)) for _ in range(20)]
    await runtime.watched(1)
    await runtime.succeed(0)
    for client in clients:
        await client.end()
    await asyncio.gather(*waiting)
    assert runtime.opened == 1


async def test_results_are_read_once_for_all_streams(service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await submit(service, inputs=3)
    params = GetParams(run_id=run.run_id, wait=True, include_results=True)
    clients = [Client(service, params) for _ in range(100)]
    for client in clients:
        await client.read()
    runtime.page_length = 1
    for index in range(3):
        await runtime.succeed(index)
    for client in clients:
        await client.end()
    assert {tuple(indexes(fold(statuses(client.updates)))) for client in clients} == {(0, 1, 2)}
    assert len(runtime.pages) == 3


async def test_one_task_follows_many_runs(service: RunsService, runtime: ScriptedRuntime) -> None:
    runs = [(await submit(service, inputs=1)).run_id for _ in range(10)]
    ready: asyncio.Queue[int] = asyncio.Queue()
    followers = [
        service.follower(
            GetParams(run_id=run_id, wait=True, include_results=True), on_change=partial(ready.put_nowait, number)
        )
        for number, run_id in enumerate(runs)
    ]
    updates: list[list[Update]] = [[] for _ in runs]
    for run_id in runs:
        await runtime.succeed(0, run_id=run_id)
    while not all(follower.ended for follower in followers):
        number = await ready.get()
        while (update := await followers[number].poll()) is not None:
            updates[number].append(update)
    for follower, run_id, received in zip(followers, runs, updates, strict=True):
        follower.close()
        assert await follower.poll() is None
        assert fold(statuses(received)) == await service.get(GetParams(run_id=run_id, include_results=True))


async def test_results_that_are_too_much_are_left_out_of_the_answer_to_a_submit(
    service: RunsService, runtime: ScriptedRuntime
) -> None:
    for limit, included in ((11, False), (12, True)):
        waiting = asyncio.create_task(
            service.submit(
                SubmitParams(flow_id=await service.put_blob(FLOW), inputs=["1", "2"], wait=True), max_results_text=limit
            )
        )
        await runtime.watched(1)
        await runtime.succeed(0, '"four"')
        await runtime.succeed(1, '"four"')
        run = await waiting
        assert run.status is RunState.SUCCESS
        assert (run.results is not None) is included


async def test_a_service_that_closes_sends_everybody_away(runtime: ScriptedRuntime) -> None:
    service = RunsService(runtime)
    run = await submit(service)
    params = GetParams(run_id=run.run_id, wait=True)
    waiting = asyncio.create_task(service.get(params))
    async with aclosing(service.follow(params)) as stream:
        await anext(stream)
        await service.close()
        with pytest.raises(Unavailable):
            await anext(stream)
    with pytest.raises(Unavailable):
        await waiting
    assert (await service.get(GetParams(run_id=run.run_id))).status is RunState.PENDING
    await all_ended()
    assert runtime.watching == 0
