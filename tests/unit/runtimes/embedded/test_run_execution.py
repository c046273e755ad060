"""The execution of a run: how many items run at the same time, and what is written together."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import GetParams, RunState
from gateway.runtimes.embedded.journal import Completion
from tests.support.component_server import Call, ComponentServer
from tests.support.embedded import Embedded, opened

COPY = {"output": {"value": {"$input": "$"}}}
STEP = {"steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}


@pytest.fixture(params=["memory", "file"])
async def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Embedded]:
    async with opened(tmp_path / "state.db" if request.param == "file" else None) as embedded:
        await embedded.start()
        yield embedded


class Noted:
    """Notes the completions of each write of a journal."""

    def __init__(self, embedded: Embedded) -> None:
        self.writes: list[Sequence[Completion]] = []
        complete = embedded.journal.complete

        async def noted(run_id: str, completions: Sequence[Completion], *arguments: Any) -> None:
            self.writes.append(completions)
            await complete(run_id, completions, *arguments)

        embedded.journal.complete = noted  # type: ignore[method-assign, assignment]

    @property
    def places(self) -> list[int]:
        return [completion.place for write in self.writes for completion in write]


async def test_short_items_are_written_together_and_are_never_seen_to_run(embedded: Embedded) -> None:
    noted = Noted(embedded)
    status = await embedded.submit(COPY, *range(1_000), wait=False, max_concurrency=1)
    params = GetParams(run_id=status.run_id, wait=True)
    seen = [update.status async for update in embedded.service.follow(params)]
    assert {status.items.running for status in seen} == {0}
    assert seen[-1].items.success == 1_000
    assert noted.places == [*range(1_000)]
    assert len(noted.writes) < 500
    results = (await embedded.wait(status.run_id)).results or ()
    assert [json.loads(result.value or "") for result in results] == [{"value": index} for index in range(1_000)]


async def test_items_that_need_steps_of_work_are_executed_among_short_ones(embedded: Embedded) -> None:
    """50 copies of 30 KB are too long to be put together at once."""
    inputs: list[Any] = [index if index % 4 else "x" * 30_000 for index in range(20)]
    status = await embedded.submit({"output": [{"$input": "$"}] * 50}, *inputs, max_concurrency=2)
    assert status.status is RunState.SUCCESS
    results = (await embedded.wait(status.run_id)).results or ()
    assert [json.loads(result.value or "") for result in results] == [[value] * 50 for value in inputs]


async def test_short_items_that_fail(embedded: Embedded) -> None:
    status = await embedded.submit({"output": {"$input": "$.a"}}, *({"a" if n % 2 else "b": n} for n in range(100)))
    assert (status.status, status.items.success, status.items.failed) == (RunState.FAILED, 50, 50)


async def test_as_many_items_run_at_the_same_time_as_the_run_may_have() -> None:
    """Each execution waits until three are there."""
    three = asyncio.Barrier(3)
    executing = most = 0

    async def answer(call: Call) -> None:
        nonlocal executing, most
        executing += 1
        most = max(most, executing)
        await three.wait()
        executing -= 1
        await call.result({"output": 1})

    server = ComponentServer(answer)
    async with server.running() as url, opened(components={"/test": url}) as embedded:
        await embedded.start()
        status = await embedded.submit(STEP, *range(30), wait=False, max_concurrency=3)
        running = 0
        async for update in embedded.service.follow(GetParams(run_id=status.run_id, wait=True)):
            running = max(running, update.status.items.running)
        assert (await embedded.wait(status.run_id)).items.success == 30
    assert (running, most) == (3, 3)
