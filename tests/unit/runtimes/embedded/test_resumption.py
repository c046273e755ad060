"""Runs that had not ended go on, each once, whether it is their turn or somebody asks for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType, GetParams, ItemResult, RunState
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded import resumption
from gateway.runtimes.embedded.journal import FINISHED_ITEMS, Completion
from gateway.runtimes.embedded.run import Run
from tests.support.component_server import Call, ComponentServer
from tests.support.embedded import Embedded, opened

FLOW = {"steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
IDS = [f"0192aaaa-0000-700{number}-8000-000000000000" for number in range(5)]


class Echo:
    """A component that notes its inputs."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.server = ComponentServer(self._answer)

    async def _answer(self, call: Call) -> None:
        self.inputs.append(call.message["params"]["input"])
        await call.result({"output": call.message["params"]["input"]})


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    async with echo.server.running():
        yield echo


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state with unfinished runs of 3 items each. The item 1 of the second run has finished."""
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        flow_id = await embedded.put(FLOW)
        for run_id in IDS:
            record = RunRecord(run_id, flow_id, None, None, 3, None, None, "{}", None, "", None, "", 7)
            await embedded.journal.create(record, ["0", "1", "2"])
        result = ItemResult(item_index=1, status=RunState.SUCCESS, value="1", completed_at=9)
        await embedded.journal.complete(IDS[1], [Completion(0, result)])
    return path


class Loads:
    """Notes which runs are loaded. Each of `failures` is raised once, for the run with this id."""

    def __init__(self, embedded: Embedded, failures: dict[str, Exception] | None = None) -> None:
        self.run_ids: list[str] = []
        load = embedded.journal.load

        async def noted(run_id: str) -> Any:
            self.run_ids.append(run_id)
            if failures and (failure := failures.pop(run_id, None)) is not None:
                raise failure
            return await load(run_id)

        embedded.journal.load = noted  # type: ignore[method-assign]


async def test_runs_go_on_oldest_first_and_only_with_their_unfinished_items(echo: Echo, state: Path) -> None:
    async with opened(state, components={"/test": echo.server.url}) as embedded:
        loads = Loads(embedded)
        await embedded.start()
        for run_id in reversed(IDS):
            status = await embedded.wait(run_id)
            assert (status.status, status.items.success) == (RunState.SUCCESS, 3)
            assert [result.value for result in status.results or ()] == ["0", "1", "2"]
        assert sorted(loads.run_ids) == IDS
        assert sorted(echo.inputs) == [*[0] * 5, *[1] * 4, *[2] * 5]
    async with opened(state) as embedded:
        assert await embedded.journal.unfinished(0) == []


async def test_in_the_background_they_go_on_in_order(echo: Echo, state: Path) -> None:
    async with opened(state, components={"/test": echo.server.url}) as embedded:
        loads = Loads(embedded)
        await embedded.start()
        assert embedded.runtime._resumption._task is not None
        await embedded.runtime._resumption._task
        assert loads.run_ids == IDS
        for run_id in IDS:
            await embedded.wait(run_id)


async def test_before_it_goes_on_a_run_shows_its_state_and_does_not_execute(echo: Echo, state: Path) -> None:
    async with opened(state, components={"/test": echo.server.url}) as embedded:
        for started in (False, True):
            if started:
                await embedded.runtime.start(embedded.service)
            status = await embedded.service.get(GetParams(run_id=IDS[1], include_results=True))
            assert (status.status, status.items.success, status.items.pending) == (RunState.RUNNING, 1, 2)
            assert [result.item_index for result in status.results or ()] == [1]
            assert (await embedded.service.get(GetParams(run_id=IDS[0]))).status is RunState.PENDING
        assert echo.inputs == []
        embedded.runtime.resume()
        assert (await embedded.wait(IDS[1])).items.success == 3


async def test_those_who_ask_at_the_same_time_share_one_read(echo: Echo, state: Path) -> None:
    async with opened(state, components={"/test": echo.server.url}) as embedded:
        loads = Loads(embedded)
        asking = [asyncio.create_task(embedded.wait(IDS[4])) for _ in range(20)]
        async with aclosing(embedded.runtime.watch(IDS[4])) as watch:
            first = await anext(watch)
            await embedded.start()
            async for snapshot in watch:
                last = snapshot
        assert (first.status.status, last.status.status) == (RunState.PENDING, RunState.SUCCESS)
        assert last.revision > first.revision
        assert {status.items.success for status in await asyncio.gather(*asking)} == {3}
        for run_id in IDS:
            await embedded.wait(run_id)
        assert sorted(loads.run_ids) == IDS
        assert len(echo.inputs) == 14


async def test_a_submit_with_the_same_key_finds_a_run_that_has_not_gone_on(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.runtime.start(embedded.service)
        embedded.runtime._executor.start = lambda job: None  # type: ignore[method-assign]
        flow = {
            "steps": [{"id": "s", "component": "/builtin/put_blob", "input": {"data": 1}}],
            "output": {"$step": "s"},
        }
        before = await embedded.submit(flow, 1, 2, wait=False, idempotency_key="key")
    async with opened(path) as embedded:
        await embedded.start()
        again = await embedded.submit(flow, 1, 2, idempotency_key="key")
        assert (again.run_id, again.status) == (before.run_id, RunState.SUCCESS)


async def test_what_had_not_gone_on_when_the_gateway_stops_stays_unfinished(echo: Echo, state: Path) -> None:
    async with opened(state, components={"/test": echo.server.url}) as embedded:
        held = asyncio.Event()
        load = embedded.journal.load

        async def slow(run_id: str) -> Any:
            if run_id == IDS[2]:
                held.set()
                await asyncio.Event().wait()
            return await load(run_id)

        embedded.journal.load = slow  # type: ignore[method-assign]
        await embedded.start()
        await held.wait()
        asking = asyncio.create_task(embedded.wait(IDS[2]))
        await asyncio.sleep(0)
        await embedded.runtime.drain()
    with pytest.raises(Unavailable):
        await asking
    async with opened(state) as embedded:
        unfinished = [run.run_id for run in await embedded.journal.unfinished(0)]
        assert set(IDS[2:]) <= set(unfinished)


async def test_a_run_that_is_loaded_while_the_gateway_stops_does_not_execute(echo: Echo, state: Path) -> None:
    async with opened(state, components={"/test": echo.server.url}) as embedded:
        await embedded.runtime.start(embedded.service)
        await embedded.runtime.drain()
        status = await embedded.service.get(GetParams(run_id=IDS[1]))
        assert status.items.success == 1
        await asyncio.sleep(0)
        assert embedded.runtime._executor._executing == {}


async def test_a_run_that_cannot_go_on_does_not_keep_others_from_it(
    echo: Echo, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resumption, "RETRY_SECONDS", 0)
    async with opened(state, components={"/test": echo.server.url}) as embedded:
        loads = Loads(embedded, {IDS[0]: Unavailable("the disk is away"), IDS[1]: ValueError("a defect")})
        await embedded.start()
        assert embedded.runtime._resumption._task is not None
        await embedded.runtime._resumption._task
        assert loads.run_ids == [IDS[0], *IDS]
        for run_id in (IDS[0], *IDS[2:]):
            assert (await embedded.wait(run_id)).status is RunState.SUCCESS
    assert "a defect" in caplog.text


async def test_a_run_whose_flow_is_not_valid_any_more_stays_unfinished(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"
    record = RunRecord(IDS[0], "flow", None, None, 1, None, None, "{}", None, "", None, "", 7)
    async with opened(path) as embedded:
        await embedded.journal.put_blob("flow", Blob('{"output":{"$no":1}}', BlobType.FLOW))
        await embedded.journal.create(record, ["1"])
    async with opened(path) as embedded:
        await embedded.start()
        assert embedded.runtime._resumption._task is not None
        await embedded.runtime._resumption._task
        status = await embedded.service.get(GetParams(run_id=IDS[0]))
        assert status.status is RunState.PENDING
    assert f"run {IDS[0]} stays unfinished: flow_id: the blob is not a valid flow" in caplog.text


async def test_a_large_run_is_restored_in_parts(tmp_path: Path) -> None:
    path, total = tmp_path / "state.db", 2 * FINISHED_ITEMS + 5
    async with opened(path) as embedded:
        record = RunRecord(IDS[0], await embedded.put(FLOW), None, None, total, None, None, "{}", None, "", None, "", 7)
        await embedded.journal.create(record, ["1"] * total)
        finished = [0, FINISHED_ITEMS - 1, FINISHED_ITEMS, total - 1]
        for place, index in enumerate(finished):
            result = ItemResult(item_index=index, status=RunState.FAILED, completed_at=9)
            await embedded.journal.complete(IDS[0], [Completion(place, result)])
    async with opened(path) as embedded:
        run = await embedded.runtime._find(IDS[0])
        assert isinstance(run, Run)
        assert [index for index in range(total) if run.is_done(index)] == finished
        assert (run.snapshot().completions, run.snapshot().prefix, run.snapshot().status.items.failed) == (4, 1, 4)
