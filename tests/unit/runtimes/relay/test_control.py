"""Ending, finding and looking into runs through a relay, over a real connection to a gateway with scripted runs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from grpc import aio

from gateway.core.errors import InvalidParams, RunNotEnded, RunNotFound, Unavailable, Unsupported
from gateway.core.model import RunState, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Snapshot
from gateway.runtimes.relay.runtime import RelayRuntime
from tests.support.counted import Counted
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime
from tests.support.upstream import Upstream


class WaitingRuntime(ScriptedRuntime):
    """Remembers until when cancels wait, and may be away for the answer to a delete."""

    def __init__(self) -> None:
        super().__init__()
        self.until: list[float | None] = []
        self.lost_answers = 0

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        self.until.append(until)
        return await super().cancel(run_id, reason, until)

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        await super().delete(run_id, cancel=cancel)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("away for a moment", retry_after=0.01)


@pytest.fixture
def scripted() -> WaitingRuntime:
    return WaitingRuntime()


@pytest.fixture
async def relay(scripted: WaitingRuntime, tmp_path: Path) -> AsyncIterator[RelayRuntime]:
    upstream = Upstream(scripted, tmp_path / "upstream.sock")
    await upstream.start()
    relay = RelayRuntime(upstream.address)
    yield relay
    await relay.close()
    await upstream.stop()


async def submitted(relay: RelayRuntime, items: int = 2, **params: object) -> str:
    inputs = [str(index) for index in range(items)]
    given = SubmitParams(flow_id=await relay.put_blob(FLOW), inputs=inputs, **params)  # type: ignore[arg-type]
    return (await relay.submit(given, "")).status.run_id


async def test_a_cancel_and_all_that_it_says(scripted: WaitingRuntime, relay: RelayRuntime) -> None:
    run_id = await submitted(relay)
    async with aclosing(relay.watch(run_id)) as watch:
        await anext(watch)
        snapshot = await relay.cancel(run_id, "no need")
        assert snapshot.status == (await scripted.get(run_id)).status
        assert (snapshot.status.status, snapshot.status.cancel_reason) == (RunState.CANCELLED, "no need")
        assert [state.status async for state in watch][-1] == snapshot.status
    until = time.monotonic() + 1000
    assert (await relay.cancel(run_id, "again", until)).status == snapshot.status
    await relay.cancel(run_id, None, time.monotonic() + 1e9)
    now, short, endless = scripted.until
    assert now is None
    assert short is not None
    assert short == pytest.approx(until, abs=60)
    assert endless is not None
    assert endless > time.monotonic() + 1e9
    with pytest.raises(RunNotFound):
        await relay.cancel(MISSING_RUN, None)


async def test_a_delete(scripted: WaitingRuntime, relay: RelayRuntime) -> None:
    run_id = await submitted(relay)
    with pytest.raises(RunNotEnded):
        await relay.delete(run_id, cancel=False)
    await relay.delete(run_id, cancel=True)
    with pytest.raises(RunNotFound):
        await relay.get(run_id)
    with pytest.raises(RunNotFound):
        await relay.delete(run_id, cancel=False)
    # The answer to the first attempt is lost, and the second one finds nothing.
    run_id = await submitted(relay)
    scripted.lost_answers = 1
    await relay.delete(run_id, cancel=True)
    assert not scripted.lost_answers


@pytest.mark.parametrize("order", RunOrder)
async def test_lists_are_those_of_the_upstream(scripted: WaitingRuntime, relay: RelayRuntime, order: RunOrder) -> None:
    ids = [await submitted(relay, labels={"n": str(number % 2)}) for number in range(7)]
    wanted = RunFilter(labels={"n": "0"}, states=(RunState.PENDING,))
    found, cursor = list[str](), ""
    while True:
        runs, cursor = await relay.list_runs(wanted, order, cursor, 3)
        found += [run.run_id for run in runs]
        assert all(run.labels == {"n": "0"} for run in runs)
        if not cursor:
            break
    assert found == (ids[::2] if order is RunOrder.OLDEST_FIRST else ids[::-2])
    assert await relay.count_runs(wanted) == 4
    assert await relay.count_runs(RunFilter(roots_only=True)) == 7
    with pytest.raises(InvalidParams, match="page_token"):
        await relay.list_runs(wanted, order, "no token", 3)


async def test_items_begin_anywhere(scripted: WaitingRuntime, relay: RelayRuntime) -> None:
    run_id = await submitted(relay, 6)
    await scripted.succeed(1, '"done"')
    for states in ((), (RunState.PENDING,), (RunState.SUCCESS, RunState.PENDING)):
        for start in range(6):
            there = await scripted.items(run_id, states, start, 2, with_inputs=True)
            assert await relay.items(run_id, states, start, 2, with_inputs=True) == there
    with pytest.raises(RunNotFound):
        await relay.items(MISSING_RUN, (), 0, 10, with_inputs=False)


async def test_what_the_upstream_cannot_is_told_with_its_reason(relay: RelayRuntime, scripted: WaitingRuntime) -> None:
    async def refuse(*_: object, **__: object) -> int:
        raise Unsupported("runs cannot be counted there")

    scripted.count_runs = refuse  # type: ignore[method-assign]
    with pytest.raises(Unsupported, match="counted there"):
        await relay.count_runs(RunFilter())


async def test_an_upstream_of_an_older_release_is_told_apart() -> None:
    server = aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    relay = RelayRuntime(f"grpc://127.0.0.1:{port}")
    try:
        for call in (
            relay.cancel(MISSING_RUN, None),
            relay.delete(MISSING_RUN, cancel=False),
            relay.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", 1),
            relay.count_runs(RunFilter()),
            relay.items(MISSING_RUN, (), 0, 1, with_inputs=False),
        ):
            with pytest.raises(Unsupported, match="does not know this call"):
                await call
    finally:
        await relay.close()
        await server.stop(None)


async def test_calls_wait_for_an_upstream_that_restarts(scripted: WaitingRuntime, tmp_path: Path) -> None:
    upstream = Upstream(scripted, tmp_path / "upstream.sock")
    relay = RelayRuntime(upstream.address)
    listing = asyncio.create_task(relay.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", 1))
    await upstream.start()
    assert (await listing).runs == []
    await relay.close()
    await upstream.stop()


async def test_calls_that_an_upstream_that_is_away_does_not_answer_are_counted(tmp_path: Path) -> None:
    counted = Counted()
    relay = RelayRuntime(f"unix:{tmp_path}/nobody.sock", patience=0.1)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await relay.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", 1)
    await relay.close()
    assert counted.of("runs_gateway_upstream_calls_total") == {("relay", "unavailable"): 1}
    assert counted.total("runs_gateway_upstream_call_seconds") == 1
