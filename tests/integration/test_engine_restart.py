"""An engine is killed and started again while clients watch and tasks execute: nobody but the engine may notice."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from tests.integration.conftest import Gateway, Start, command
from tests.support import sdk
from tests.support.bridged_engine import ITSELF, QUEUE, bridged_engine
from tests.support.clients import GrpcClient, fold
from tests.support.engine import Engine
from tests.support.hold import Held

pytestmark = pytest.mark.slow

CLIENTS = 50
SUCCEEDING, FAILING, NESTING = 10, 4, 3
TASKS = SUCCEEDING + FAILING + 2 * NESTING
"""Tasks that execute when the engine is killed: a nesting run has one that waits for that of its sub-run."""


def step(name: str, component: str, **values: Any) -> dict[str, Any]:
    """A step whose input is that of the run with something more."""
    common = {"file": {"$input": "file"}, "port": {"$input": "port"}}
    return {"id": name, "component": f"/sdk/{component}", "input": {**common, **values}}


BEFORE = step("before", "record", line={"$input": "before"})
HOLD = step("hold", "hold", after={"$step": "before"})
AFTER = step("after", "record", line={"$input": "after"}, held={"$step": "hold"})
FAIL = step("fail", "fail", held={"$step": "hold"})

SUCCEED: dict[str, Any] = {"name": "succeed", "steps": [BEFORE, HOLD, AFTER], "output": {"$step": "after"}}
BREAK: dict[str, Any] = {"name": "break", "steps": [BEFORE, HOLD, FAIL], "output": {"$step": "fail"}}
NESTED: dict[str, Any] = {"name": "nested", **{key: SUCCEED[key] for key in ("steps", "output")}}
NEST: dict[str, Any] = {
    "name": "nest",
    "steps": [step("sub", "orchestrator", flow={"$literal": NESTED}, items=[{"$input": "$"}])],
    "output": {"$step": "sub"},
}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with bridged_engine("0.13.0", tmp_path) as engine:
        yield engine


async def test_an_engine_restarts_while_clients_watch_and_tasks_execute(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path], tmp_path: Path
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components)
    file = tmp_path / "executed"
    async with Held().listening() as held, asyncio.TaskGroup() as own:
        runs = [
            await submit(gateway, flow, number, file, held.port)
            for flow, count in ((SUCCEED, SUCCEEDING), (BREAK, FAILING), (NEST, NESTING))
            for number in range(count)
        ]
        watchers = [Watcher(gateway, runs[number % len(runs)]) for number in range(CLIENTS)]
        watching = [own.create_task(watcher.watch()) for watcher in watchers]
        tasks = [await held.next() for _ in range(TASKS - NESTING)]
        for watcher in watchers:
            await watcher.begun.wait()
        await engine.kill()
        # Some end while nobody takes their results, the others afterwards.
        for release in tasks[::2]:
            release()
        await engine.start(*ITSELF)
        for release in tasks[1::2]:
            release()
        finals = [await task for task in watching]
        executions = held.count

    for number, final in enumerate(finals):
        position = number % len(runs)
        failing = SUCCEEDING <= position < SUCCEEDING + FAILING
        assert final.run_id == runs[position]
        assert final.status is (RunState.FAILED if failing else RunState.SUCCESS)
        assert len(final.results or ()) == 1
        assert final.results == finals[position].results
    # What had completed has not been executed again; what was executing has gone on.
    lines = Counter(file.read_text().splitlines())
    assert set(lines.values()) == {1}
    assert len(lines) == 2 * (SUCCEEDING + NESTING) + FAILING
    assert executions == TASKS - NESTING
    assert await count_runs(engine, "nested") == NESTING


class Watcher:
    """A client on a connection of its own."""

    def __init__(self, gateway: Gateway, run_id: str) -> None:
        self.begun = asyncio.Event()
        self._address = gateway.addresses.grpc
        self._run_id = run_id

    async def watch(self) -> RunStatus:
        """Follow the run to its end on one stream, without reconnecting."""
        client = GrpcClient(self._address)
        try:
            statuses = []
            async with aclosing(client.follow(GetParams(run_id=self._run_id, wait=True, include_results=True))) as news:
                async for status in news:
                    statuses.append(status)
                    self.begun.set()
            return fold(statuses)
        finally:
            await client.close()


async def submit(gateway: Gateway, flow: dict[str, Any], number: int, file: Path, port: int) -> str:
    flow_id = await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
    name = f"{flow['name']} {number}"
    value = {"file": str(file), "port": port, "before": f"{name} before", "after": f"{name} after"}
    return (await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=[json.dumps(value)]))).run_id


async def count_runs(engine: Engine, flow_name: str) -> int:
    """How many runs of a flow the engine has."""
    async with aiohttp.ClientSession() as http, http.get(f"{engine.url}/api/v1/runs?limit=1000") as answer:
        return sum(run.get("flowName") == flow_name for run in (await answer.json())["runs"])
