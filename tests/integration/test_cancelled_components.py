"""Nested runs in which real SDK components execute are cancelled: on the gateway itself, and over an engine's queue."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.control import CancelParams, ItemsParams, ListParams, reason_inside
from gateway.core.items import StepState
from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from tests.integration.conftest import Gateway, Start, command
from tests.support import sdk
from tests.support.bridged_engine import QUEUE, bridged_engine
from tests.support.hold import Held

pytestmark = pytest.mark.slow

HERE = "embedded"
PLACES = [(HERE, version) for version in sdk.VERSIONS] + [
    ("0.13.0", "0.11.2"),
    ("0.13.0", "0.9.2"),
    ("0.12.0", "0.11.2"),
]
"""What executes the runs, and the release of the SDK that executes their components."""

HOLD: dict[str, Any] = {
    "steps": [{"id": "s", "component": "/sdk/hold", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}


def around(flow: dict[str, Any]) -> dict[str, Any]:
    """A flow whose only step is a component that runs another flow, and waits for it."""
    given = {"flow": {"$literal": flow}, "items": [{"$input": "$"}]}
    return {
        "steps": [{"id": "s", "component": "/sdk/orchestrator", "input": given}],
        "output": {"$step": "s"},
    }


@pytest.fixture(params=PLACES, ids=lambda place: f"{place[0]}-sdk-{place[1]}")
async def gateway(
    request: pytest.FixtureRequest, start: Start, sdk_python: Callable[[str], Path], tmp_path: Path
) -> AsyncIterator[Gateway]:
    place, version = request.param
    components = {"/sdk": command(sdk.SERVER, python=sdk_python(version))}
    if place == HERE:
        yield await start(components=components)
        return
    async with bridged_engine(place, tmp_path) as engine:
        yield await start(runtime=engine.runtime, queue=QUEUE, components=components)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    async with Held().listening() as held:
        yield held


async def submitted(gateway: Gateway, flow: dict[str, Any], value: Any, *, wait: bool = False) -> RunStatus:
    flow_id = await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
    return await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=[json.dumps(value)], wait=wait))


async def test_a_cancel_reaches_runs_three_deep(gateway: Gateway, held: Held) -> None:
    root = await submitted(gateway, around(around(around(HOLD))), {"port": held.port})
    async with asyncio.timeout(60):
        await held.next()
    inside = RunFilter(root_run_id=root.run_id)
    family = (await gateway.grpc.list_runs(ListParams(filter=inside, order=RunOrder.OLDEST_FIRST))).runs
    assert [run.depth for run in family] == [1, 2, 3]
    assert [run.parent_run_id for run in family] == [root.run_id, *(run.run_id for run in family[:-1])]
    params = CancelParams(run_id=root.run_id, reason="no need", wait=True, timeout=30.0)
    assert (await gateway.grpc.cancel(params)).status is RunState.CANCELLED
    for run in (root, *family):
        end = await gateway.grpc.get(GetParams(run_id=run.run_id))
        assert (end.status, end.items.cancelled) == (RunState.CANCELLED, 1)
        assert end.cancel_reason == ("no need" if run is root else reason_inside(root.run_id, "no need"))
        items = (await gateway.grpc.items(ItemsParams(run_id=run.run_id))).items
        assert [item.status for item in items] == [RunState.CANCELLED]
    running = RunFilter(states=(RunState.PENDING, RunState.RUNNING))
    assert (await gateway.grpc.list_runs(ListParams(filter=running))).runs == []
    # The component server goes on, and so does the gateway.
    double = {**HOLD, "steps": [{**HOLD["steps"][0], "component": "/sdk/double"}]}
    after = await submitted(gateway, double, {"n": 4}, wait=True)
    assert [result.value for result in after.results or []] == ['{"doubled":8}']


@pytest.mark.parametrize("release", ["0.13.0", "0.12.0"])
async def test_a_bridge_of_another_gateway_learns_of_a_cancel_from_the_engine(
    release: str, start: Start, sdk_python: Callable[[str], Path], tmp_path: Path, held: Held
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    async with bridged_engine(release, tmp_path) as engine:
        await start(runtime=engine.runtime, queue=QUEUE, components=components)
        other = await start(runtime=engine.runtime)
        run = await submitted(other, HOLD, {"port": held.port})
        async with asyncio.timeout(60):
            await held.next()
        await other.grpc.cancel(CancelParams(run_id=run.run_id))
        async with asyncio.timeout(60):
            while True:
                [item] = (await other.grpc.items(ItemsParams(run_id=run.run_id))).items
                [step] = item.steps
                if step.error is not None:
                    break
                await asyncio.sleep(0.2)
        assert (step.status, step.error.code) == (StepState.FAILED, -32800)
        assert item.status is RunState.CANCELLED
