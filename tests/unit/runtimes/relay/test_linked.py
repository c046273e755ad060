"""The runtime of a worker, over real sockets to a runtime whose runs change only when a test says so."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import FlowNotFound, IdempotencyConflict, InvalidParams, Overloaded, RunNotFound, Unavailable
from gateway.core.model import ItemError, ItemResult, JsonText, Nanoseconds, ResultOrder, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Page, Snapshot
from gateway.core.socket_directory import LINK_SOCKET, RUNTIME_SOCKET
from gateway.fronts.link.front import LinkFront
from gateway.peers.link.messages import MAX_INPUT_TEXT, MAX_INPUTS, MAX_NAME, MAX_RESULT_TEXT, MAX_RESULTS
from gateway.runtimes.relay.linked import LinkedRuntime
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime
from tests.support.upstream import linked_upstream

YEAR_9999 = 253_402_300_799 * 10**9


class OddRuntime(ScriptedRuntime):
    """Tells of its runs what only runtimes elsewhere do."""

    def __init__(self) -> None:
        super().__init__()
        self.flow_name = "scripted"
        self.created_at: Nanoseconds | None = None
        self.extensions: dict[str, JsonText] = {}
        self.labels: dict[str, str] = {}
        self.expires_at: Nanoseconds | None = None

    async def get(self, run_id: str) -> Snapshot:
        return self._odd(await super().get(run_id))

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        return self._odd(await super().submit(params, scope))

    def _odd(self, snapshot: Snapshot) -> Snapshot:
        status = replace(snapshot.status, flow_name=self.flow_name, extensions=self.extensions)
        status = replace(status, labels=self.labels or status.labels, expires_at=self.expires_at)
        if self.created_at is not None:
            status = replace(status, created_at=self.created_at)
        return replace(snapshot, status=status)


@pytest.fixture
def scripted() -> OddRuntime:
    return OddRuntime()


@pytest.fixture
async def front(scripted: OddRuntime, home: Path) -> AsyncIterator[LinkFront]:
    async with linked_upstream(scripted, home) as (_, front):
        yield front


@pytest.fixture
async def linked(front: LinkFront, home: Path) -> AsyncIterator[LinkedRuntime]:
    linked = LinkedRuntime(f"unix:{home / RUNTIME_SOCKET}")
    assert await linked.connect(10.0)
    yield linked
    await linked.close()


async def submitted(linked: LinkedRuntime, items: int, **params: object) -> str:
    inputs = [str(index) for index in range(items)]
    given = SubmitParams(flow_id=await linked.put_blob(FLOW), inputs=inputs)
    return (await linked.submit(replace(given, **params), "")).status.run_id


async def all_of(watch: AsyncGenerator[Snapshot, None]) -> list[Snapshot]:
    return [snapshot async for snapshot in watch]


async def test_states_are_those_of_the_runtime(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    run_id = await submitted(linked, 3)
    assert await linked.get(run_id) == await scripted.get(run_id)
    await scripted.succeed(0, "1")
    await scripted.fail(1, ItemError(code=-1, message="broken", data="[1]"))
    assert await linked.get(run_id) == await scripted.get(run_id)
    assert await linked.get_since(run_id, 3) == await scripted.get(run_id)
    assert await linked.get_since(run_id, 4) is None


async def test_a_submit_has_all_that_was_submitted(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    params = SubmitParams(
        flow_id=await linked.put_blob(FLOW),
        inputs=["1", '{"a":[1.50,"ü"]}'],
        wait=True,
        timeout=3.0,
        max_concurrency=7,
        idempotency_key="key",
        variables={"v": "1e400"},
        flow_label="label",
    )
    accepted = await linked.submit(params, "")
    assert accepted == await scripted.get(accepted.status.run_id)
    assert scripted.params(accepted.status.run_id) == replace(params, wait=False, timeout=None)


@pytest.mark.parametrize("inputs", [["1"] * (MAX_INPUTS + 1), ['"' + "x" * MAX_INPUT_TEXT + '"']])
async def test_long_submits_have_the_same_keys(inputs: list[str], scripted: OddRuntime, linked: LinkedRuntime) -> None:
    params = SubmitParams(flow_id=await linked.put_blob(FLOW), inputs=inputs, idempotency_key="key")
    assert scripted.params((await linked.submit(params, "task")).status.run_id).inputs == inputs
    with pytest.raises(IdempotencyConflict):
        await linked.submit(replace(params, inputs=["1"]), "task")


@pytest.mark.parametrize(
    "change",
    [{"overrides": '{"steps":{}}'}, {"extensions": {"x": "1"}}, {"variables": {"x" * MAX_INPUT_TEXT: "1"}}],
)
async def test_what_is_rare_or_long_goes_over_grpc(
    change: dict[str, object], scripted: OddRuntime, linked: LinkedRuntime
) -> None:
    run_id = await submitted(linked, 1, **change)
    for name, value in change.items():
        assert getattr(scripted.params(run_id), name) == value


async def test_errors_are_those_of_the_runtime(linked: LinkedRuntime) -> None:
    page = Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)
    for call in (linked.get(MISSING_RUN), linked.get_since(MISSING_RUN, 1), linked.results(MISSING_RUN, page)):
        with pytest.raises(RunNotFound, match=MISSING_RUN):
            await call
    with pytest.raises(FlowNotFound):
        await linked.submit(SubmitParams(flow_id=MISSING_BLOB, inputs=["1"]), "")
    async with aclosing(linked.watch(MISSING_RUN)) as watch:
        with pytest.raises(RunNotFound):
            await anext(watch)


async def test_fields_that_break_a_rule_keep_their_paths(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    await scripted.break_down(InvalidParams.field("inputs", 3, description="is odd"))
    with pytest.raises(InvalidParams) as caught:
        await linked.get(MISSING_RUN)
    assert caught.value.violations[0].path == ("inputs", 3)


async def test_unexpected_errors_are_told_without_internals(
    scripted: OddRuntime, linked: LinkedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    await scripted.break_down(ZeroDivisionError("secret"))
    with pytest.raises(Exception, match="internal error, id") as caught:
        await linked.get(MISSING_RUN)
    assert "secret" not in str(caught.value)
    assert "internal error" in caplog.text


@pytest.mark.parametrize(
    "results",
    [
        ["1"] * (3 * MAX_RESULTS + 5),
        ['"' + "x" * (MAX_RESULT_TEXT // 3) + '"'] * 20,
        ["1", '"' + "x" * (2 * MAX_RESULT_TEXT) + '"', "2"],
    ],
    ids=["many", "long", "too long"],
)
@pytest.mark.parametrize("order", ResultOrder)
async def test_results_are_those_of_the_runtime(
    results: list[str], order: ResultOrder, scripted: OddRuntime, linked: LinkedRuntime
) -> None:
    run_id = await submitted(linked, len(results))
    for index, value in enumerate(results):
        await scripted.succeed(index, value)
    expected = await scripted.results(run_id, Page(order, 0, len(results), 0, len(results)))
    received: list[ItemResult] = []
    while len(received) < len(expected):
        at = len(received)
        by_index = order is ResultOrder.BY_INDEX
        page = Page(order, at if by_index else 0, len(results), 0 if by_index else at, len(results))
        part = await linked.results(run_id, page)
        assert part
        received += part
    assert received == expected
    assert await linked.results(run_id, Page(order, 0, 0, 0, 0)) == []


async def test_a_watch_has_each_state_until_the_run_has_ended(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    run_id = await submitted(linked, 2)
    async with aclosing(linked.watch(run_id)) as watch:
        assert await anext(watch) == await scripted.get(run_id)
        await scripted.succeed(0, "1")
        assert (await anext(watch)).completions == 1
        await scripted.succeed(1, "2")
        last = await anext(watch)
        assert (last.completions, last.terminal) == (2, True)
        assert [snapshot async for snapshot in watch] == []
    await scripted.watched(0)


async def test_a_watch_that_is_left_is_left_at_the_runtime(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    run_id = await submitted(linked, 1)
    async with aclosing(linked.watch(run_id)) as watch:
        await anext(watch)
        await scripted.watched(1)
    await scripted.watched(0)


async def test_a_reader_that_is_slow_gets_the_latest_state(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    run_id = await submitted(linked, 50)
    async with aclosing(linked.watch(run_id)) as watch, aclosing(linked.watch(run_id)) as other:
        await anext(watch)
        for index in range(50):
            await scripted.succeed(index)
        async for snapshot in other:  # By its end, everything has arrived.
            last = snapshot
        assert [snapshot async for snapshot in watch][-1] == last


@pytest.mark.parametrize("odd", ["name", "extensions", "year", "labels", "expiry"])
async def test_what_no_link_can_tell_is_told_over_grpc(odd: str, scripted: OddRuntime, linked: LinkedRuntime) -> None:
    if odd == "name":
        scripted.flow_name = "x" * (MAX_NAME + 1)
    elif odd == "extensions":
        scripted.extensions = {"status": '"paused"'}
    elif odd == "labels":
        scripted.labels = {str(number): "x" * 255 for number in range(32)}
    elif odd == "expiry":
        scripted.expires_at = YEAR_9999
    else:
        scripted.created_at = YEAR_9999
    run_id = await submitted(linked, 1)
    told = await linked.get(run_id)
    assert told == await scripted.get(run_id)
    assert await linked.get_since(run_id, 1) == told
    async with aclosing(linked.watch(run_id)) as watch:
        first = await anext(watch)
        await scripted.succeed(0)
        last = await anext(watch)
    assert (first.revision, last.terminal) == (1, True)


@pytest.mark.parametrize("length", [5, 255])
async def test_labels_come_back_whatever_their_length(length: int, scripted: OddRuntime, linked: LinkedRuntime) -> None:
    labels = {f"label {number}": "x" * length for number in range(32)}
    run_id = await submitted(linked, 1, labels=labels, execution_timeout=9.5)
    assert scripted.params(run_id).labels == labels
    assert scripted.params(run_id).execution_timeout == 9.5
    told = await linked.get(run_id)
    assert told.status.labels == labels
    assert told == await scripted.get(run_id)
    runs, _ = await linked.list_runs(RunFilter(labels=labels), RunOrder.NEWEST_FIRST, "", 10)
    assert [run.run_id for run in runs] == [run_id]


async def test_runs_that_are_cancelled_or_deleted_end_their_watches(
    scripted: OddRuntime, linked: LinkedRuntime
) -> None:
    cancelled, deleted = await submitted(linked, 1), await submitted(linked, 2)
    async with aclosing(linked.watch(cancelled)) as first, aclosing(linked.watch(deleted)) as second:
        await anext(first)
        await anext(second)
        await linked.cancel(cancelled, "no need")
        assert (await anext(first)).status.cancel_reason == "no need"
        await scripted.delete(deleted, cancel=True)
        with pytest.raises(RunNotFound):
            await all_of(second)


async def test_a_runtime_that_stops_ends_what_waits(
    scripted: OddRuntime, front: LinkFront, linked: LinkedRuntime
) -> None:
    run_id = await submitted(linked, 1)
    scripted.reading.clear()
    await scripted.succeed(0)
    reading = asyncio.create_task(linked.results(run_id, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)))
    await scripted.asked.wait()
    other = await submitted(linked, 1)
    async with aclosing(linked.watch(other)) as watch:
        await anext(watch)
        await front.stop()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await anext(watch)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await reading
    with pytest.raises(Unavailable, match="cannot be reached"):
        await linked.get(run_id)
    assert linked.readiness.defect == "the link to the runtime of the gateway was lost"


async def test_draining_ends_watches_and_goes_on_reading(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    run_id = await submitted(linked, 1)
    async with aclosing(linked.watch(run_id)) as watch:
        await anext(watch)
        await linked.drain()
        with pytest.raises(Unavailable, match="shutting down"):
            await anext(watch)
    assert (await linked.get(run_id)).revision == 1
    with pytest.raises(Unavailable, match="shutting down"):
        await submitted(linked, 1)
    await linked.close()
    assert linked.readiness.defect is None


async def test_a_caller_that_leaves_makes_no_difference_to_others(scripted: OddRuntime, linked: LinkedRuntime) -> None:
    run_id = await submitted(linked, 1)
    await scripted.succeed(0, "1")
    scripted.reading.clear()
    page = Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)
    readers = [asyncio.create_task(linked.results(run_id, page)) for _ in range(2)]
    await scripted.asked.wait()
    readers[0].cancel()
    await asyncio.gather(readers[0], return_exceptions=True)
    scripted.reading.set()
    assert [result.value for result in await readers[1]] == ["1"]


async def test_submits_beyond_the_memory_are_refused(scripted: OddRuntime, home: Path) -> None:
    async with linked_upstream(scripted, home, MemoryAccount(16 << 10)) as (upstream, _):
        linked = LinkedRuntime(upstream.address)
        await linked.connect(10.0)
        with pytest.raises(Overloaded):
            await linked.submit(SubmitParams(flow_id=MISSING_BLOB, inputs=["1"]), "")
        await linked.close()


async def test_there_is_one_front_at_a_path(front: LinkFront, scripted: OddRuntime, home: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        await LinkFront(scripted, None, str(home / LINK_SOCKET), MemoryAccount()).start()  # type: ignore[arg-type]
