"""The relay runtime over a real connection to a gateway whose runs change only when a test says so."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.errors import (
    BlobNotFound,
    ComponentUnavailable,
    FlowNotFound,
    GatewayError,
    IdempotencyConflict,
    InvalidParams,
    RunNotFound,
    StateUnavailable,
    Unavailable,
)
from gateway.core.model import Blob, BlobType, GetParams, ItemError, ResultOrder, RunState, SubmitParams
from gateway.core.position import Position, ResumePoint
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, Snapshot
from gateway.fronts.grpc import GrpcLimits
from gateway.peers.grpc.upload import PART_LENGTH
from gateway.runs.service import RunsService
from gateway.runtimes.relay.runtime import RelayRuntime
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime
from tests.support.upstream import Upstream


class SlowRuntime(ScriptedRuntime):
    """Answers submits when `answering` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()
        self.answering = asyncio.Event()

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        snapshot = await super().submit(params, scope)
        self.arrived.set()
        await self.answering.wait()
        return snapshot


@pytest.fixture
def scripted() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def upstream(scripted: ScriptedRuntime, tmp_path: Path) -> AsyncIterator[Upstream]:
    upstream = Upstream(scripted, tmp_path / "upstream.sock")
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.fixture
async def relay(upstream: Upstream) -> AsyncIterator[RelayRuntime]:
    relay = RelayRuntime(upstream.address)
    yield relay
    await relay.close()


async def submitted(relay: RelayRuntime, items: int, key: str | None = None, scope: str = "") -> str:
    flow_id = await relay.put_blob(FLOW)
    inputs = [str(index) for index in range(items)]
    params = SubmitParams(flow_id=flow_id, inputs=inputs, idempotency_key=key)
    return (await relay.submit(params, scope)).status.run_id


async def test_states_are_those_of_the_upstream(scripted: ScriptedRuntime, relay: RelayRuntime) -> None:
    run_id = await submitted(relay, 4)
    await scripted.succeed(0, "1")
    await scripted.start(1)
    await scripted.fail(2, ItemError(code=-1, message="broken"))
    assert await relay.get(run_id) == await scripted.get(run_id)
    await scripted.cancel_item(1)
    snapshot = await relay.get(run_id)
    assert snapshot == await scripted.get(run_id)
    assert (snapshot.completions, snapshot.prefix) == (3, 3)


async def test_a_state_that_another_relay_has_shown(scripted: ScriptedRuntime, relay: RelayRuntime) -> None:
    run_id = await submitted(relay, 2)
    await scripted.succeed(0)
    assert await relay.get_since(run_id, 2) == await scripted.get(run_id)
    assert await relay.get_since(run_id, 3) is None


async def test_a_watch_that_was_cut_goes_on_from_its_last_state(
    scripted: ScriptedRuntime, upstream: Upstream, relay: RelayRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await submitted(relay, 2)
    tokens: list[bytes] = []
    follower = RunsService.follower

    def recorded(service: RunsService, params: GetParams, **options: Any) -> Any:
        tokens.append(params.resume_token)
        return follower(service, params, **options)

    monkeypatch.setattr(RunsService, "follower", recorded)
    async with aclosing(relay.watch(run_id)) as watch:
        await scripted.succeed(0)
        while (await anext(watch)).revision < 2:
            pass
        await upstream.stop()
        await upstream.start()
        following = asyncio.ensure_future(anext(watch))
        await scripted.watched(1)
        await scripted.succeed(1)
        assert (await following).revision == 3
    points = [ResumePoint.from_token(token, run_id, ResultOrder.BY_INDEX) for token in tokens]
    assert (points[0], points[-1]) == (None, ResumePoint(Position(ResultOrder.BY_INDEX), 2))


async def test_a_submit_answers_with_the_state(scripted: ScriptedRuntime, relay: RelayRuntime) -> None:
    flow_id = await relay.put_blob(FLOW)
    accepted = await relay.submit(SubmitParams(flow_id=flow_id, inputs=["1", "2"], flow_label="x", wait=True), "")
    assert accepted.status == (await scripted.get(scripted.run_ids[0])).status
    empty = await relay.submit(SubmitParams(flow_id=flow_id, inputs=[]), "")
    assert empty.status.status is RunState.SUCCESS


async def test_a_watch_passes_on_each_state_until_the_run_has_finished(
    scripted: ScriptedRuntime, relay: RelayRuntime
) -> None:
    run_id = await submitted(relay, 2)
    async with aclosing(relay.watch(run_id)) as watch:
        seen = [await anext(watch)]
        await scripted.start(0)
        seen.append(await anext(watch))
        await scripted.succeed(0)
        seen.append(await anext(watch))
        await scripted.succeed(1)
        seen += [snapshot async for snapshot in watch]
    assert [snapshot.status.items.success for snapshot in seen] == [0, 0, 1, 2]
    assert [snapshot.prefix for snapshot in seen] == [0, 0, 1, 2]
    assert seen[-1] == await scripted.get(run_id)
    revisions = [snapshot.revision for snapshot in seen]
    assert revisions == sorted(set(revisions))


async def test_a_watch_that_is_closed_or_cancelled_ends_at_the_upstream(
    scripted: ScriptedRuntime, upstream: Upstream
) -> None:
    relay = RelayRuntime(upstream.address)
    run_id = await submitted(relay, 1)
    async with aclosing(relay.watch(run_id)) as watch:
        await anext(watch)
        assert scripted.watching == 1
    waiting = aclosing(relay.watch(run_id))
    async with waiting as watch:
        await anext(watch)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    await scripted.watched(0)
    await relay.close()


PLACES = [2, 0, 3, 1, 4]
"""The items of a run of six in the order in which they complete; the last one goes on."""


async def rectangles(scripted: ScriptedRuntime, relay: RelayRuntime, total: int) -> None:
    """Assert that the relay reads every page like the upstream."""
    run_id = scripted.run_ids[0]
    completions = (await scripted.get(run_id)).completions
    bounds = list(itertools.combinations(range(total + 1), 2))
    places = list(itertools.combinations(range(completions + 1), 2))
    for order in ResultOrder:
        for (start, stop), (first, last) in itertools.product(bounds, places):
            page = Page(order, start, stop, first, last)
            assert await relay.results(run_id, page) == await scripted.results(run_id, page), page


async def test_pages_of_an_unfinished_run_are_those_of_the_upstream(
    scripted: ScriptedRuntime, relay: RelayRuntime
) -> None:
    await submitted(relay, 6)
    for index in PLACES:
        await scripted.succeed(index, str(index))
    await rectangles(scripted, relay, 6)


async def test_pages_of_a_finished_run_are_those_of_the_upstream(
    scripted: ScriptedRuntime, relay: RelayRuntime
) -> None:
    await submitted(relay, 5)
    for index in PLACES:
        await scripted.succeed(index, str(index))
    await rectangles(scripted, relay, 5)


@pytest.mark.parametrize("order", ResultOrder)
async def test_a_page_is_bounded(scripted: ScriptedRuntime, relay: RelayRuntime, order: ResultOrder) -> None:
    run_id = await submitted(relay, 4)
    large = f'"{"x" * (RESULT_PAGE_BYTES * 2 // 3)}"'
    for index in range(4):
        await scripted.succeed(index, large)
    start, sizes = 0, []
    while page := await relay.results(run_id, Page(order, start, 4, start, 4)):
        assert [result.item_index for result in page] == list(range(start, start + len(page)))
        sizes.append(len(page))
        start += len(page)
    assert start == 4
    assert max(sizes) <= 2


async def test_a_page_holds_so_many_results_at_most(scripted: ScriptedRuntime, relay: RelayRuntime) -> None:
    total = RESULT_PAGE_LENGTH + 100
    run_id = await submitted(relay, total)
    for index in range(total):
        await scripted.succeed(index)
    page = await relay.results(run_id, Page(ResultOrder.BY_INDEX, 0, total, 0, total))
    assert [result.item_index for result in page] == list(range(RESULT_PAGE_LENGTH))


async def test_a_large_submit_is_sent_in_parts(scripted: ScriptedRuntime, upstream: Upstream) -> None:
    await upstream.stop()
    await upstream.start(GrpcLimits(receive=4 << 20))
    relay = RelayRuntime(upstream.address)
    run_id = await submitted(relay, PART_LENGTH * 3 + 1)
    assert (await relay.get(run_id)).status.items.total == PART_LENGTH * 3 + 1
    flow_id = await relay.put_blob(FLOW)
    inputs = [f'"{number}{"x" * 700_000}"' for number in range(9)]
    params = SubmitParams(flow_id=flow_id, inputs=inputs, idempotency_key="large")
    first = await relay.submit(params, "")
    assert first.status.run_id == (await relay.submit(params, "")).status.run_id
    changed = replace(params, inputs=inputs[:-1])
    with pytest.raises(IdempotencyConflict):
        await relay.submit(changed, "")
    await relay.close()


async def test_blobs_pass_unchanged(relay: RelayRuntime) -> None:
    for blob in (FLOW, Blob('{"a":1e400}', BlobType.DATA), Blob(b"\x00\xff", BlobType.DATA)):
        assert await relay.get_blob(await relay.put_blob(blob)) == blob


async def test_errors_are_those_of_the_upstream(scripted: ScriptedRuntime, relay: RelayRuntime) -> None:
    with pytest.raises(RunNotFound, match="no run has the id"):
        await relay.get(MISSING_RUN)
    with pytest.raises(RunNotFound):
        await anext(relay.watch(MISSING_RUN))
    with pytest.raises(RunNotFound):
        await relay.results(MISSING_RUN, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1))
    with pytest.raises(BlobNotFound):
        await relay.get_blob(MISSING_BLOB)
    with pytest.raises(FlowNotFound):
        await relay.submit(SubmitParams(flow_id=MISSING_BLOB, inputs=[]), "")
    await submitted(relay, 1, key="k")
    with pytest.raises(IdempotencyConflict):
        await submitted(relay, 2, key="k")
    scripted.defect = InvalidParams.field("overrides", "steps", 3, description="is wrong")
    with pytest.raises(InvalidParams) as refused:
        await submitted(relay, 1)
    assert refused.value.violations == scripted.defect.violations


@pytest.mark.parametrize("kind", [StateUnavailable, ComponentUnavailable])
@pytest.mark.parametrize("key", [None, "k"])
async def test_an_upstream_that_says_why_it_takes_no_runs_is_not_away(
    kind: type[Unavailable],
    key: str | None,
    scripted: ScriptedRuntime,
    relay: RelayRuntime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripted.defect = kind("not now", retry_after=1.0)
    with pytest.raises(kind, match="not now") as refused:
        await submitted(relay, 1, key=key)
    assert refused.value.retry_after == 1.0
    assert caplog.records == []


async def test_a_key_counts_within_its_scope(relay: RelayRuntime) -> None:
    key = "k" * 255
    runs = [await submitted(relay, 1, key, scope) for scope in ("", "", "a", "a", "b" * 1_000, "b" * 1_000, "ak", "ak")]
    assert runs[::2] == runs[1::2]
    assert len(set(runs)) == 4


async def test_draining_ends_watches_and_refuses_what_is_new(scripted: ScriptedRuntime, relay: RelayRuntime) -> None:
    run_id = await submitted(relay, 1)
    async with aclosing(relay.watch(run_id)) as watch, aclosing(relay.watch(run_id)) as idle:
        await anext(watch)
        await anext(idle)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await relay.drain()
        for ended in (following, anext(idle), submitted(relay, 1), anext(relay.watch(run_id))):
            with pytest.raises(Unavailable, match="shutting down") as raised:
                await ended
            assert raised.value.retry_after == 1.0
    await scripted.succeed(0)
    assert (await relay.get(run_id)).status.status is RunState.SUCCESS
    assert len(await relay.results(run_id, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1))) == 1


async def test_a_watch_goes_on_when_the_upstream_has_restarted(
    scripted: ScriptedRuntime, upstream: Upstream, relay: RelayRuntime
) -> None:
    run_id = await submitted(relay, 3)
    async with aclosing(relay.watch(run_id)) as watch:
        assert (await anext(watch)).completions == 0
        for completions in (1, 2):
            following = asyncio.ensure_future(anext(watch))
            await upstream.stop()
            await scripted.succeed(completions - 1)
            await upstream.start()
            assert (await following).completions == completions
        following = asyncio.ensure_future(anext(watch))
        await upstream.stop()
        await upstream.start()
        # The state has not changed, so nothing comes before this.
        await scripted.succeed(2)
        assert (await following).status.status is RunState.SUCCESS


async def test_calls_wait_for_an_upstream_that_starts_later(scripted: ScriptedRuntime, tmp_path: Path) -> None:
    upstream = Upstream(scripted, tmp_path / "later.sock")
    relay = RelayRuntime(upstream.address)
    assert not await relay.connect(0)
    submitting = asyncio.create_task(submitted(relay, 1))
    await asyncio.sleep(0)
    await upstream.start()
    run_id = await submitting
    assert await relay.connect(10)
    await upstream.stop()
    reading = asyncio.create_task(relay.get(run_id))
    await upstream.start()
    assert (await reading).status.run_id == run_id
    await relay.close()
    await upstream.stop()


async def test_without_an_upstream_calls_end_as_unavailable_in_the_end(upstream: Upstream) -> None:
    relay = RelayRuntime(upstream.address, patience=0.0)
    assert await relay.connect(10)
    run_id = await submitted(relay, 1)
    watch = relay.watch(run_id)
    await anext(watch)
    await upstream.stop()
    page = Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)
    for ended in (anext(watch), relay.get(run_id), relay.results(run_id, page), submitted(relay, 1)):
        with pytest.raises(Unavailable, match="upstream gateway") as raised:
            await ended
        assert raised.value.retry_after == 1.0
    await relay.close()


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_submit_that_was_cut_off_is_repeated_only_with_a_key(tmp_path: Path, key: str | None) -> None:
    runtime = SlowRuntime()
    upstream = Upstream(runtime, tmp_path / "slow.sock")
    await upstream.start()
    relay = RelayRuntime(upstream.address)
    submitting = asyncio.create_task(submitted(relay, 1, key))
    await runtime.arrived.wait()
    await upstream.stop()
    runtime.answering.set()
    await upstream.start()
    if key is None:
        with pytest.raises(GatewayError) as raised:
            await submitting
        assert isinstance(raised.value, Unavailable)
    else:
        assert await submitting == runtime.run_ids[0]
    assert len(runtime.run_ids) == 1
    await relay.close()
    await upstream.stop()


async def test_watches_leave_the_calls_of_a_connection_to_others(
    scripted: ScriptedRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream allows two open calls on a connection, and three runs are watched."""
    monkeypatch.setattr("gateway.runtimes.relay.upstream.WATCHES_PER_SOCKET", 1)
    upstream = Upstream(scripted, tmp_path / "bounded.sock")
    await upstream.start(GrpcLimits(streams=2))
    relay = RelayRuntime(upstream.address)
    flow_id = await relay.put_blob(FLOW)
    run_ids = [(await relay.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")).status.run_id for _ in range(3)]
    watches = [relay.watch(run_id) for run_id in run_ids]
    assert [(await anext(watch)).status.run_id for watch in watches] == run_ids
    assert (await relay.get(run_ids[0])).status.run_id == run_ids[0]
    for watch in watches:
        await watch.aclose()
    await relay.close()
    await upstream.stop()
