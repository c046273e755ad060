"""Pages of runs and items that come from elsewhere are read in turns with everything else."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.model import SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Runtime
from gateway.runtimes.jsonrpc import control as jsonrpc
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.runtimes.relay import control as relay
from gateway.runtimes.relay.runtime import RelayRuntime
from gateway.runtimes.stepflow import runs as stepflow
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.wire_format import WireFormat
from gateway.storage.idempotency import Keys
from tests.support.engine_proxy import EngineProxy
from tests.support.http_upstream import HttpUpstream
from tests.support.scripted_runtime import FLOW, ScriptedRuntime
from tests.support.upstream import Upstream

COUNT = 100


@pytest.fixture
def scripted() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture(params=["relay", "jsonrpc"])
async def elsewhere(
    request: pytest.FixtureRequest, scripted: ScriptedRuntime, tmp_path: Path
) -> AsyncIterator[Runtime]:
    async with AsyncExitStack() as stack:
        if request.param == "relay":
            upstream: Any = Upstream(scripted, tmp_path / "upstream.sock")
            runtime: Runtime = RelayRuntime(upstream.address)
            await upstream.start()
        else:
            upstream = HttpUpstream(scripted)
            await upstream.start()
            keys = await Keys.open(":memory:")
            stack.push_async_callback(keys.close)
            runtime = JsonRpcRuntime(upstream.url, keys)
        stack.push_async_callback(upstream.stop)
        stack.push_async_callback(runtime.close)
        yield runtime


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """An entry for each time that the work on a page lets others have their turn if it is time."""
    passed: list[None] = []

    class Counted(TimeSlice):
        async def checkpoint(self) -> None:
            passed.append(None)
            await super().checkpoint()

    for module in (relay, jsonrpc, stepflow):
        monkeypatch.setattr(module, "TimeSlice", Counted)
    return passed


async def test_pages_of_another_gateway_are_read_in_turns(
    scripted: ScriptedRuntime, elsewhere: Runtime, slices: list[None]
) -> None:
    params = SubmitParams(flow_id=await elsewhere.put_blob(FLOW), inputs=["1"] * COUNT)
    run_id = (await elsewhere.submit(params, "")).status.run_id
    one = SubmitParams(flow_id=params.flow_id, inputs=["1"])
    for _ in range(COUNT):
        await scripted.submit(one, "")

    await elsewhere.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", COUNT)
    assert len(slices) == COUNT
    await elsewhere.items(run_id, (), 0, COUNT, with_inputs=True)
    assert len(slices) == 2 * COUNT


async def test_lists_of_an_engine_are_read_in_turns(slices: list[None]) -> None:
    run = {"flowId": "a" * 64, "status": 1, "createdAt": "2026-11-22T13:34:38Z", "items": {"total": 1, "running": 1}}
    runs = [{**run, "runId": f"01a20377-4792-7b82-a1a4-{number:012x}"} for number in range(COUNT)]
    async with EngineProxy().running() as server:
        server.replies.append((200, json.dumps({"runs": runs}).encode()))
        engine = EngineRestClient(server.url)
        reader = Runs(engine, Release("0.12 or 0.13", WireFormat.PROTO_JSON))
        await reader.listed(f"limit={COUNT}")
        assert len(slices) == COUNT
        await engine.close()
