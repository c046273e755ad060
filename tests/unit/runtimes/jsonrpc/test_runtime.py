"""The JSON-RPC runtime over real connections to servers whose runs change only when a test says so: another gateway,
which streams, and one that knows no more than the specification, which is polled."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from gateway.core.errors import BlobNotFound, FlowNotFound, IdempotencyConflict, RunNotFound, Unavailable
from gateway.core.model import Blob, BlobType, ItemError, ResultOrder, RunState, SubmitParams
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, Snapshot
from gateway.runtimes.jsonrpc import runtime as runtime_module
from gateway.runtimes.jsonrpc import upstream as upstream_module
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.storage.idempotency import Keys
from tests.support.document_server import DocumentServer
from tests.support.http_upstream import HttpUpstream
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime

Server = HttpUpstream | DocumentServer


@pytest.fixture
def scripted() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def gateway(scripted: ScriptedRuntime) -> AsyncIterator[HttpUpstream]:
    server = HttpUpstream(scripted)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=["superset", "document"])
async def server(request: pytest.FixtureRequest, scripted: ScriptedRuntime) -> AsyncIterator[Server]:
    server: Server = HttpUpstream(scripted) if request.param == "superset" else DocumentServer(scripted)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    keys = await Keys.open(":memory:")
    yield keys
    await keys.close()


@pytest.fixture
async def runtime(server: Server, keys: Keys) -> AsyncIterator[JsonRpcRuntime]:
    runtime = JsonRpcRuntime(f"jsonrpc+{server.url}", keys)
    assert await runtime.connect(10)
    yield runtime
    await runtime.close()


async def submitted(runtime: JsonRpcRuntime, items: int, key: str | None = None, scope: str = "") -> str:
    flow_id = await runtime.put_blob(FLOW)
    inputs = [str(index) for index in range(items)]
    params = SubmitParams(flow_id=flow_id, inputs=inputs, idempotency_key=key)
    return (await runtime.submit(params, scope)).status.run_id


def in_seconds(snapshot: Snapshot) -> Snapshot:
    """What the document's server tells of a snapshot: no label, and not when the run began."""
    return replace(snapshot, status=replace(snapshot.status, flow_label=None, started_at=None), revision=0)


async def test_states_are_those_of_the_upstream(scripted: ScriptedRuntime, runtime: JsonRpcRuntime) -> None:
    run_id = await submitted(runtime, 4)
    await scripted.succeed(0, "1")
    await scripted.start(1)
    await scripted.fail(2, ItemError(code=-1, message="broken"))
    async with aclosing(runtime.watch(run_id)) as watch:
        snapshot = await anext(watch)
    assert in_seconds(snapshot) == in_seconds(await scripted.get(run_id))
    assert (snapshot.completions, snapshot.prefix) == (2, 1)
    state = await runtime.get(run_id)
    assert state.status == snapshot.status
    assert state.completions == 2


async def test_a_watch_passes_on_states_until_the_run_has_finished(
    scripted: ScriptedRuntime, runtime: JsonRpcRuntime
) -> None:
    run_id = await submitted(runtime, 3)
    async with aclosing(runtime.watch(run_id)) as watch:
        seen = [await anext(watch)]
        for change in (scripted.start(0), scripted.succeed(2), scripted.succeed(0)):
            await change
            seen.append(await anext(watch))
        await scripted.succeed(1)
        seen += [snapshot async for snapshot in watch]
    assert [snapshot.completions for snapshot in seen] == [0, 0, 1, 2, 3]
    assert [snapshot.prefix for snapshot in seen] == [0, 0, 0, 1, 3]
    assert seen[-1].status.status is RunState.SUCCESS
    revisions = [snapshot.revision for snapshot in seen]
    assert revisions == sorted(set(revisions))
    assert (await runtime.get(run_id)).revision == revisions[-1]


async def test_two_gateways_over_one_upstream_give_the_same_revisions(
    scripted: ScriptedRuntime, server: Server, runtime: JsonRpcRuntime, keys: Keys
) -> None:
    other = JsonRpcRuntime(server.url, keys)
    run_id = await submitted(runtime, 3)
    for change in (scripted.start(1), scripted.succeed(1), scripted.succeed(0), scripted.succeed(2)):
        await change
        first, second = await runtime.get(run_id), await other.get(run_id)
        assert replace(first, prefix=0) == replace(second, prefix=0)
    await other.close()


async def test_a_state_that_another_gateway_has_shown(scripted: ScriptedRuntime, runtime: JsonRpcRuntime) -> None:
    run_id = await submitted(runtime, 2)
    await scripted.succeed(0)
    state = await runtime.get(run_id)
    assert await runtime.get_since(run_id, state.revision) == state
    await scripted.succeed(1)
    ended = await runtime.get(run_id)
    assert await runtime.get_since(run_id, state.revision) == ended
    assert await runtime.get_since(run_id, ended.revision + 1000) is None


PLACES = [2, 0, 3, 1, 4]
"""The items of a run of six in the order in which they complete; the last one goes on."""


@pytest.mark.parametrize("total", [6, 5])
async def test_pages_are_those_of_the_upstream(scripted: ScriptedRuntime, runtime: JsonRpcRuntime, total: int) -> None:
    run_id = await submitted(runtime, total)
    for index in PLACES:
        await scripted.succeed(index, str(index))
    bounds = list(itertools.combinations(range(total + 1), 2))
    places = list(itertools.combinations(range(len(PLACES) + 1), 2))
    for order in ResultOrder:
        for (start, stop), (first, last) in itertools.product(bounds, places):
            page = Page(order, start, stop, first, last)
            found = await runtime.results(run_id, page)
            expected = await scripted.results(run_id, page)
            assert [(r.item_index, r.value) for r in found] == [(r.item_index, r.value) for r in expected], page


@pytest.mark.parametrize("order", ResultOrder)
async def test_a_page_is_bounded(scripted: ScriptedRuntime, runtime: JsonRpcRuntime, order: ResultOrder) -> None:
    run_id = await submitted(runtime, 4)
    large = f'"{"x" * (RESULT_PAGE_BYTES * 2 // 3)}"'
    for index in range(4):
        await scripted.succeed(index, large)
    start, sizes = 0, []
    while page := await runtime.results(run_id, Page(order, start, 4, start, 4)):
        assert [result.item_index for result in page] == list(range(start, start + len(page)))
        sizes.append(len(page))
        start += len(page)
    assert start == 4
    assert max(sizes) <= 2


async def test_a_page_holds_so_many_results_at_most(scripted: ScriptedRuntime, runtime: JsonRpcRuntime) -> None:
    total = RESULT_PAGE_LENGTH + 100
    run_id = await submitted(runtime, total)
    for index in range(total):
        await scripted.succeed(index)
    page = await runtime.results(run_id, Page(ResultOrder.BY_INDEX, 0, total, 0, total))
    assert [result.item_index for result in page] == list(range(RESULT_PAGE_LENGTH))


async def test_pages_of_a_finished_run_are_read_once(scripted: ScriptedRuntime, keys: Keys) -> None:
    server = DocumentServer(scripted)
    await server.start()
    runtime = JsonRpcRuntime(server.url, keys)
    run_id = await submitted(runtime, 50)
    for index in range(50):
        await scripted.succeed(index, str(index))
    pages = [runtime.results(run_id, Page(ResultOrder.BY_INDEX, start, 50, 0, 50)) for start in range(50)]
    assert [page[0].value for page in await asyncio.gather(*pages)] == [str(index) for index in range(50)]
    assert len([params for _, params in server.calls if params.get("includeResults")]) == 1
    await runtime.close()
    await server.stop()


async def test_blobs_pass_through(runtime: JsonRpcRuntime) -> None:
    for blob in (FLOW, Blob('{"a":1}', BlobType.DATA)):
        stored = await runtime.get_blob(await runtime.put_blob(blob))
        assert isinstance(stored.content, str)
        assert (stored.content.replace(" ", ""), stored.type) == (blob.content, blob.type)


async def test_payloads_pass_another_gateway_unchanged(gateway: HttpUpstream, keys: Keys) -> None:
    runtime = JsonRpcRuntime(gateway.url, keys)
    for blob in (Blob('{"b": 1e400,  "a":9007199254740993}', BlobType.DATA), Blob(b"\x00\xff", BlobType.DATA)):
        assert await runtime.get_blob(await runtime.put_blob(blob)) == blob
    await runtime.close()


async def test_errors_are_those_of_the_runs_methods(runtime: JsonRpcRuntime) -> None:
    with pytest.raises(RunNotFound):
        await runtime.get(MISSING_RUN)
    with pytest.raises(RunNotFound):
        await anext(runtime.watch(MISSING_RUN))
    with pytest.raises(RunNotFound):
        await runtime.results(MISSING_RUN, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1))
    with pytest.raises(BlobNotFound):
        await runtime.get_blob(MISSING_BLOB)
    with pytest.raises(FlowNotFound):
        await runtime.submit(SubmitParams(flow_id=MISSING_BLOB, inputs=[]), "")


async def test_a_key_counts_within_its_scope(scripted: ScriptedRuntime, runtime: JsonRpcRuntime) -> None:
    key = "k" * 255
    runs = [await submitted(runtime, 1, key, scope) for scope in ("", "", "a", "a", "b" * 1_000, "b" * 1_000)]
    assert runs[::2] == runs[1::2]
    assert len(set(runs)) == len(scripted.run_ids) == 3
    with pytest.raises(IdempotencyConflict):
        await submitted(runtime, 2, key)


async def test_draining_ends_watches_and_refuses_what_is_new(
    scripted: ScriptedRuntime, runtime: JsonRpcRuntime
) -> None:
    run_id = await submitted(runtime, 1)
    async with aclosing(runtime.watch(run_id)) as watch, aclosing(runtime.watch(run_id)) as idle:
        await anext(watch)
        await anext(idle)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await runtime.drain()
        for ended in (following, anext(idle), submitted(runtime, 1), anext(runtime.watch(run_id))):
            with pytest.raises(Unavailable, match="shutting down") as raised:
                await ended
            assert raised.value.retry_after == 1.0
    await scripted.succeed(0)
    assert (await runtime.get(run_id)).status.status is RunState.SUCCESS
    assert len(await runtime.results(run_id, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1))) == 1


async def test_a_watch_that_is_closed_or_cancelled_ends_at_the_upstream(
    scripted: ScriptedRuntime, runtime: JsonRpcRuntime
) -> None:
    run_id = await submitted(runtime, 1)
    async with aclosing(runtime.watch(run_id)) as watch:
        await anext(watch)
        await scripted.watched(1)
    await scripted.watched(0)
    async with aclosing(runtime.watch(run_id)) as watch:
        await anext(watch)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    await scripted.watched(0)


async def test_a_watch_goes_on_when_the_upstream_has_restarted(
    scripted: ScriptedRuntime, server: Server, runtime: JsonRpcRuntime
) -> None:
    run_id = await submitted(runtime, 3)
    async with aclosing(runtime.watch(run_id)) as watch:
        assert (await anext(watch)).completions == 0
        for completions in (1, 2):
            following = asyncio.ensure_future(anext(watch))
            await server.stop()
            await scripted.succeed(completions - 1)
            await server.start()
            assert (await following).completions == completions
        following = asyncio.ensure_future(anext(watch))
        await server.stop()
        await server.start()
        # The state has not changed, so nothing comes before this.
        await scripted.succeed(2)
        assert (await following).status.status is RunState.SUCCESS


async def test_calls_wait_for_an_upstream_that_starts_later(
    scripted: ScriptedRuntime, server: Server, runtime: JsonRpcRuntime
) -> None:
    await server.stop()
    late = JsonRpcRuntime(server.url, runtime._keys)
    assert not await late.connect(0)
    submitting = asyncio.create_task(submitted(late, 1))
    await asyncio.sleep(0)
    await server.start()
    run_id = await submitting
    assert await late.connect(10)
    assert (await runtime.get(run_id)).status.run_id == run_id
    await late.close()


async def test_without_an_upstream_calls_end_as_unavailable(server: Server, keys: Keys) -> None:
    runtime = JsonRpcRuntime(server.url, keys, patience=0.0)
    assert await runtime.connect(10)
    run_id = await submitted(runtime, 2)
    watch = runtime.watch(run_id)
    await anext(watch)
    await server.stop()
    page = Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)
    for ended in (anext(watch), runtime.get(run_id), runtime.results(run_id, page), submitted(runtime, 1)):
        with pytest.raises(Unavailable, match="the upstream") as raised:
            await ended
        assert raised.value.retry_after == 1.0
    await server.start()
    assert await runtime.connect(10)
    assert (await runtime.get(run_id)).status.run_id == run_id
    await runtime.close()


async def test_runs_beyond_the_bound_of_streams_are_polled(
    scripted: ScriptedRuntime, gateway: HttpUpstream, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "LONG_CALLS", 1)
    runtime = JsonRpcRuntime(gateway.url, keys)
    first, second = await submitted(runtime, 1), await submitted(runtime, 2)
    async with aclosing(runtime.watch(first)) as streamed, aclosing(runtime.watch(second)) as polled:
        await anext(streamed)
        assert await anext(polled) == await scripted.get(second)
        await scripted.succeed(1, run_id=second)
        assert await anext(polled) == await scripted.get(second)
        await scripted.succeed(0, run_id=second)
        assert [snapshot async for snapshot in polled] == [await scripted.get(second)]
    await runtime.close()


async def test_a_polled_run_that_ends_is_seen_without_a_poll_being_due(
    scripted: ScriptedRuntime, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_module, "FIRST_POLL", 3_600.0)
    monkeypatch.setattr(runtime_module, "LAST_POLL", 3_600.0)
    server = DocumentServer(scripted)
    await server.start()
    runtime = JsonRpcRuntime(server.url, keys)
    run_id = await submitted(runtime, 1)
    async with aclosing(runtime.watch(run_id)) as watch:
        await anext(watch)
        await scripted.watched(1)
        await scripted.succeed(0)
        assert (await anext(watch)).status.status is RunState.SUCCESS
    await runtime.close()
    await server.stop()
