"""Ending, finding and looking into runs of a JSON-RPC server, over real connections: another gateway has the calls."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.core.errors import InvalidParams, RunNotEnded, RunNotFound, Unsupported
from gateway.core.model import RunState, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Snapshot
from gateway.fronts.http.control_methods import ControlMethods
from gateway.runtimes.jsonrpc import control
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.storage.idempotency import Keys
from tests.support.document_server import DocumentServer
from tests.support.engine_proxy import LOSE, EngineProxy
from tests.support.http_upstream import HttpUpstream
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime

Server = HttpUpstream | DocumentServer


class WaitingRuntime(ScriptedRuntime):
    """Remembers for how long cancels wait, and what they are told as a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        self.waits.append(None if until is None else until - time.monotonic())
        return await super().cancel(run_id, reason, until)


@pytest.fixture
def scripted() -> WaitingRuntime:
    return WaitingRuntime()


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[Server], Any]]:
    async with AsyncExitStack() as stack:

        async def over(server: Server) -> JsonRpcRuntime:
            await server.start()
            stack.push_async_callback(server.stop)
            keys = await Keys.open(":memory:")
            stack.push_async_callback(keys.close)
            runtime = JsonRpcRuntime(server.url, keys)
            stack.push_async_callback(runtime.close)
            assert await runtime.connect(10)
            return runtime

        yield over


@pytest.fixture
async def runtime(scripted: WaitingRuntime, opened: Callable[[Server], Any]) -> JsonRpcRuntime:
    runtime: JsonRpcRuntime = await opened(HttpUpstream(scripted))
    return runtime


async def submitted(runtime: JsonRpcRuntime, items: int = 2, **params: Any) -> str:
    inputs = [str(index) for index in range(items)]
    given = SubmitParams(flow_id=await runtime.put_blob(FLOW), inputs=inputs, **params)
    return (await runtime.submit(given, "")).status.run_id


async def test_a_cancel_and_all_that_it_says(scripted: WaitingRuntime, runtime: JsonRpcRuntime) -> None:
    run_id = await submitted(runtime)
    end = (await runtime.cancel(run_id, "no need")).status
    assert end == (await scripted.get(run_id)).status
    assert (end.status, end.cancel_reason) == (RunState.CANCELLED, "no need")
    assert (await runtime.cancel(run_id, None, time.monotonic() + 100)).status == end
    assert (await runtime.get(run_id)).status == end
    now, later = scripted.waits
    assert now is None
    assert later is not None
    assert 0 < later <= 100
    with pytest.raises(RunNotFound):
        await runtime.cancel(MISSING_RUN, None)


async def test_a_long_wait_is_several_calls(
    scripted: WaitingRuntime, runtime: JsonRpcRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "WAIT_SECONDS", 0.0)
    scripted.stopped.clear()
    run_id = await submitted(runtime)
    await runtime.cancel(run_id, None, time.monotonic() + 0.05)
    assert len(scripted.waits) > 1


async def test_a_delete(scripted: WaitingRuntime, runtime: JsonRpcRuntime) -> None:
    run_id = await submitted(runtime)
    with pytest.raises(RunNotEnded):
        await runtime.delete(run_id, cancel=False)
    await runtime.delete(run_id, cancel=True)
    for _ in range(2):
        with pytest.raises(RunNotFound):
            await runtime.delete(run_id, cancel=False)
    assert scripted.run_ids == []


async def test_a_delete_whose_answer_is_lost_is_repeated(scripted: WaitingRuntime) -> None:
    async with AsyncExitStack() as stack:
        server = HttpUpstream(scripted)
        await server.start()
        stack.push_async_callback(server.stop)
        proxy = await stack.enter_async_context(EngineProxy(server.url.rstrip("/")).running())
        keys = await Keys.open(":memory:")
        stack.push_async_callback(keys.close)
        runtime = JsonRpcRuntime(f"{proxy.url}/", keys)
        stack.push_async_callback(runtime.close)
        run_id = await submitted(runtime)
        proxy.replies.append(LOSE)
        await runtime.delete(run_id, cancel=True)
        assert scripted.run_ids == []
        with pytest.raises(RunNotFound):
            await runtime.delete(run_id, cancel=True)


@pytest.mark.parametrize("order", RunOrder)
async def test_lists_are_those_of_the_upstream(
    scripted: WaitingRuntime, runtime: JsonRpcRuntime, order: RunOrder
) -> None:
    ids = [await submitted(runtime, labels={"n": str(number % 2)}, execution_timeout=60.5) for number in range(7)]
    assert scripted.params(ids[0]).execution_timeout == 60.5
    wanted = RunFilter(labels={"n": "0"}, states=(RunState.PENDING,))
    found, cursor = list[str](), ""
    while True:
        runs, cursor = await runtime.list_runs(wanted, order, cursor, 3)
        found += [run.run_id for run in runs]
        assert all(run.labels == {"n": "0"} for run in runs)
        if not cursor:
            break
    assert found == (ids[::2] if order is RunOrder.OLDEST_FIRST else ids[::-2])
    assert await runtime.count_runs(wanted) == 4
    with pytest.raises(InvalidParams, match=r"page_token|pageToken"):
        await runtime.list_runs(wanted, order, "no token", 3)


async def test_items_begin_anywhere(scripted: WaitingRuntime, runtime: JsonRpcRuntime) -> None:
    run_id = await submitted(runtime, 6)
    await scripted.succeed(1, '"done"')
    for states in ((), (RunState.PENDING,), (RunState.SUCCESS, RunState.PENDING)):
        for start in range(6):
            there = await scripted.items(run_id, states, start, 2, with_inputs=True)
            assert await runtime.items(run_id, states, start, 2, with_inputs=True) == there
    with pytest.raises(RunNotFound):
        await runtime.items(MISSING_RUN, (), 0, 10, with_inputs=False)


@pytest.mark.parametrize("kind", ["document", "older"])
async def test_other_servers_do_not_know_them(
    kind: str, scripted: WaitingRuntime, opened: Callable[[Server], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "older":
        monkeypatch.setattr(ControlMethods, "table", lambda self: {})
    runtime: JsonRpcRuntime = await opened(DocumentServer(scripted) if kind == "document" else HttpUpstream(scripted))
    for method, call in (
        ("runs/cancel", runtime.cancel(MISSING_RUN, None)),
        ("runs/delete", runtime.delete(MISSING_RUN, cancel=False)),
        ("runs/list", runtime.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", 1)),
        ("runs/list", runtime.count_runs(RunFilter())),
        ("runs/items", runtime.items(MISSING_RUN, (), 0, 1, with_inputs=False)),
    ):
        with pytest.raises(Unsupported, match=f"does not know {method}"):
            await call
    # Nothing is lost silently.
    for lost in ({"labels": {"a": "b"}}, {"execution_timeout": 1.0}):
        with pytest.raises(Unsupported, match="|".join(lost)):
            await submitted(runtime, **lost)
    assert scripted.run_ids == []
    await submitted(runtime)
