"""Runs are cancelled in real gateways: with real components, and while the gateway is killed again and again."""

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import AsyncRunsClient, RunFilter, RunState, RunStatus
from gateway.core.errors import Unavailable
from tests.integration.conftest import DATA, Start, command
from tests.support import sdk
from tests.support.command_line import CommandLine
from tests.support.held_component import HELD, HeldComponent
from tests.support.hold import Held

HANG = {"steps": [{"id": "s", "component": "/plain/hang", "input": 1}], "output": {"$step": "s"}}
ENDLESS = {
    "steps": [
        {
            "id": "s",
            "component": "/builtin/iterate",
            "input": {
                "flow": {
                    "$literal": {
                        "steps": [{"id": "e", "component": "/plain/echo", "input": {"next": 1}}],
                        "output": {"$step": "e"},
                    }
                },
                "initial_input": 1,
                "max_iterations": 4_000_000_000,
            },
        }
    ],
    "output": {"$step": "s"},
}
NESTED = {
    "steps": [
        {
            "id": "m",
            "component": "/builtin/map",
            "input": {"workflow": {"$literal": HELD}, "items": [{"$input": "$"}, {"$input": "$"}]},
        }
    ],
    "output": {"$step": "m", "path": "successful"},
}


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


def orchestrating(flow_id: str) -> dict[str, Any]:
    """A flow whose component runs another one, and waits for it."""
    given = {"flow_id": flow_id, "items": [{}]}
    return {"steps": [{"id": "o", "component": "/sdk/batch_processor", "input": given}], "output": {"$step": "o"}}


@pytest.mark.parametrize("version", sdk.VERSIONS)
async def test_runs_of_real_components_are_cancelled_three_deep(version: str, start: Start, tmp_path: Path) -> None:
    async with Held().listening() as hold:
        components = {"/sdk": command(sdk.SERVER, python=sdk.interpreter(version))}
        gateway = await start(components=components, state=str(tmp_path / "state.db"))
        async with AsyncRunsClient(gateway.addresses.grpc) as client:
            held = {"id": "h", "component": "/sdk/hold", "input": {"port": hold.port}}
            flow_id = await client.put_flow({"steps": [held], "output": {"$step": "h"}})
            for _ in range(3):
                flow_id = await client.put_flow(orchestrating(flow_id))
            root = await client.submit(flow_id, [1])
            let_go = await hold.next()
            family = [run async for run in client.runs(RunFilter(root_run_id=root.run_id))]
            assert lineage(root.run_id, family) == [(depth, RunState.RUNNING) for depth in (1, 2, 3)]
            last = await client.cancel(root.run_id, reason="enough", wait=True)
            assert (last.status, last.items.cancelled, last.cancel_reason) == (RunState.CANCELLED, 1, "enough")
            family = [run async for run in client.runs(RunFilter(root_run_id=root.run_id))]
            assert lineage(root.run_id, family) == [(depth, RunState.CANCELLED) for depth in (1, 2, 3)]
            # The component goes on, and what it answers concerns nobody.
            let_go()
            echo = {"steps": [{"id": "e", "component": "/sdk/echo", "input": 1}], "output": {"$step": "e"}}
            assert (await client.submit_and_wait(await client.put_flow(echo), [1])).status is RunState.SUCCESS
            assert await client.get(root.run_id) == last


def lineage(root_id: str, family: list[RunStatus]) -> list[tuple[int, RunState]]:
    """How deep the runs of a family are, and their states, when each was submitted by the one before."""
    ordered = sorted(family, key=lambda run: run.depth)
    parents = [root_id, *(run.run_id for run in ordered)]
    assert [run.parent_run_id for run in ordered] == parents[:-1]
    assert {run.root_run_id for run in ordered} <= {root_id}
    return [(run.depth, run.status) for run in ordered]


async def test_what_would_never_end_is_stopped_and_stays_so_after_a_restart(tmp_path: Path) -> None:
    plain = f"/plain={command(DATA / 'components' / 'plain_server.py')}"
    serve = ("--state", str(tmp_path / "state.db"), "--component", plain, "--run-timeout", "1h")
    commands = CommandLine(tmp_path)
    async with commands.serving(*serve) as serving, AsyncRunsClient(serving.grpc) as client:
        runs = [await accepted(client, flow) for flow in (HANG, ENDLESS)]
        for run_id in runs:
            assert await step_of(client, run_id) is not None
            assert (await client.cancel(run_id, wait=True)).status is RunState.CANCELLED
        limited = await accepted(client, HANG, execution_timeout=0.1)
        last = await client.wait(limited)
        assert last.cancel_reason == "the run took longer than 0.1 seconds (execution_timeout)"
        before = [await client.get(run_id) for run_id in (*runs, limited)]
    async with commands.serving(*serve) as serving, AsyncRunsClient(serving.grpc) as client:
        assert [await client.get(run_id) for run_id in (*runs, limited)] == before
        unfinished = RunFilter(states=[RunState.PENDING, RunState.RUNNING])
        assert [run async for run in client.runs(unfinished)] == []
        for run_id in (*runs, limited):
            (item,) = [item async for item in client.items(run_id)]
            assert item.status is RunState.CANCELLED


async def accepted(client: AsyncRunsClient, flow: dict[str, Any], **options: Any) -> str:
    for _ in range(1_000):
        try:
            return (await client.submit(await client.put_flow(flow), [1], **options)).run_id
        except Unavailable as error:  # Its component server has just been started.
            await asyncio.sleep(error.retry_after or 0)
    raise AssertionError("the components do not become available")


async def step_of(client: AsyncRunsClient, run_id: str) -> str | None:
    """The component of the first step of the only item, when it executes."""
    for _ in range(1_000):
        async for item in client.items(run_id, states=[RunState.RUNNING]):
            if item.steps:
                return item.steps[0].component
    return None


@pytest.mark.parametrize(
    ("runs", "kills"), [pytest.param(40, 2, id="some"), pytest.param(200, 8, id="many", marks=pytest.mark.slow)]
)
async def test_nothing_is_half_cancelled_when_the_gateway_is_killed(
    tmp_path: Path, held: HeldComponent, runs: int, kills: int
) -> None:
    """Each run has one inside it with two items that execute."""
    numbers = random.Random(20261126)
    state = tmp_path / "state.db"
    serve = ("--state", str(state), "--component", f"/test={held.server.url}")
    commands = CommandLine(tmp_path)
    answered: dict[str, RunStatus] = {}
    wanted: list[str] = []
    for kill in range(kills + 1):
        async with commands.serving(*serve) as serving, AsyncRunsClient(serving.grpc, retry_for=0) as client:
            if not wanted:
                flow_id = await client.put_flow(NESTED)
                wanted = [
                    run.run_id for run in await asyncio.gather(*(client.submit(flow_id, [n]) for n in range(runs)))
                ]
                await held.executes(2 * runs)
            for run_id, before in answered.items():
                assert await client.get(run_id) == before
            until = runs if kill == kills else runs * (kill + 1) // (kills + 1) - numbers.randrange(3)
            await cancel(client, [run_id for run_id in wanted if run_id not in answered], answered, until)
            if kill < kills:
                serving.process.kill()
                await serving.process.wait()
        check_families(state, answered)
    assert answered.keys() == set(wanted)
    with sqlite3.connect(state) as db:
        assert db.execute("SELECT DISTINCT status FROM runs").fetchall() == [("cancelled",)]
    db.close()


async def cancel(client: AsyncRunsClient, run_ids: list[str], answered: dict[str, RunStatus], until: int) -> None:
    """Cancel runs, many at once, until so many have been answered; those that are then under way are left."""
    enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    rest = iter(run_ids)

    async def work() -> None:
        for run_id in rest:
            answered[run_id] = await client.cancel(run_id, reason="enough")
            assert answered[run_id].status is RunState.CANCELLED
            if len(answered) >= until and not enough.done():
                enough.set_result(None)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    futures: list[asyncio.Future[Any]] = [enough, asyncio.gather(*workers)]
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    assert enough.done()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


def check_families(state: Path, answered: dict[str, RunStatus]) -> None:
    """A run that was answered has ended, and none goes on inside a run that is cancelled; counts add up."""
    with sqlite3.connect(state) as db:
        rows = db.execute("SELECT run_id, parent_id, status, total, success, failed, cancelled FROM runs").fetchall()
    db.close()
    states = {run_id: status for run_id, _, status, *_ in rows}
    assert all(states[run_id] == "cancelled" for run_id in answered)
    for run_id, parent_id, status, total, *counts in rows:
        assert parent_id is None or states[parent_id] != "cancelled" or status == "cancelled"
        assert status is None or sum(counts) == total, json.dumps([run_id, status, counts])
