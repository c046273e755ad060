"""Runs on Temporal are ended, deleted and looked into, by gateways that share a real server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.core.control import CancelParams, reason_inside
from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from tests.integration.conftest import Gateway, Join
from tests.support.held_component import HELD, HeldComponent

pytestmark = pytest.mark.slow

HEARD_SECONDS = 5.0
"""How soon a cancel reaches what executes on another gateway."""

ECHO = {"steps": [], "output": {"$input": "$"}}


def around(flow: dict[str, Any]) -> dict[str, Any]:
    """A flow that runs another one, in a run of its own, and waits for it."""
    given = {"workflow": {"$literal": flow}, "items": [{"$input": "$"}]}
    step = {"id": "m", "component": "/builtin/map", "input": given}
    return {"steps": [step], "output": {"$step": "m", "path": "successful"}}


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


async def submitted(gateway: Gateway, flow: dict[str, Any], *inputs: Any, **options: Any) -> RunStatus:
    flow_id = await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
    return await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=list(map(json.dumps, inputs)), **options))


async def test_a_cancel_reaches_what_executes_on_another_gateway(join: Join, held: HeldComponent) -> None:
    await join(components={"/test": held.server.url})
    front = await join(gateway_roles=("front",))
    run = await submitted(front, HELD, 1, 2)
    async with asyncio.timeout(30):
        await held.executes(2)
    began = time.monotonic()
    params = CancelParams(run_id=run.run_id, reason="no need", wait=True, timeout=30.0)
    ended = await front.grpc.cancel(params)
    assert time.monotonic() - began < HEARD_SECONDS
    assert (ended.status, ended.items.cancelled, ended.cancel_reason) == (RunState.CANCELLED, 2, "no need")
    async with asyncio.timeout(HEARD_SECONDS):
        await held.loses(2)
    assert await front.grpc.cancel(CancelParams(run_id=run.run_id, reason="again")) == ended


async def test_what_has_ended_keeps_its_results(join: Join, held: HeldComponent) -> None:
    gateway = await join(components={"/test": held.server.url})
    held.release(1)
    run = await submitted(gateway, HELD, 1, 2)
    async with asyncio.timeout(30):
        await held.executes(2)
        async with aclosing(gateway.grpc.follow(GetParams(run_id=run.run_id))) as updates:
            async for status in updates:
                if status.items.success:
                    break
    began = time.monotonic()
    ended = await gateway.grpc.cancel(CancelParams(run_id=run.run_id))
    assert time.monotonic() - began < 2
    assert (ended.status, ended.items.cancelled, ended.items.success) == (RunState.CANCELLED, 1, 1)
    await held.loses(1)


@pytest.mark.parametrize("outer", [0, 1])
async def test_runs_inside_are_cancelled_however_deep(join: Join, held: HeldComponent, outer: int) -> None:
    one = await join(components={"/test": held.server.url})
    other = await join(components={"/test": held.server.url})
    run = await submitted(one, around(around(around(HELD))), 1)
    async with asyncio.timeout(30):
        await held.executes(1)
    family = await _family(one, held, run)
    ended = await other.grpc.cancel(CancelParams(run_id=family[outer], reason="no need", wait=True, timeout=30.0))
    assert ended.status is RunState.CANCELLED
    for run_id in family[outer + 1 :]:
        inner = await one.grpc.get(GetParams(run_id=run_id))
        assert (inner.status, inner.cancel_reason) == (RunState.CANCELLED, reason_inside(family[outer], "no need"))
    await held.loses(1)
    if outer:
        root = await one.grpc.get(GetParams(run_id=run.run_id, wait=True))
        assert root.status is not RunState.CANCELLED


async def _family(gateway: Gateway, held: HeldComponent, root: RunStatus) -> list[str]:
    """The ids of a run, of that inside it, and so on: the component has been told the innermost one."""
    [execution] = [call for call in held.server.calls if call.message.get("method") == "components/execute"]
    innermost = execution.message["params"]["observability"]["run_id"]
    family = [innermost]
    while (parent := (await gateway.grpc.get(GetParams(run_id=family[0]))).parent_run_id) is not None:
        family.insert(0, parent)
    assert family[0] == root.run_id
    assert len(family) == 4
    return family


@pytest.mark.parametrize(
    ("settings", "options", "reason"),
    [
        ({}, {"execution_timeout": 0.5}, "the run took longer than 0.5 seconds (execution_timeout)"),
        ({"run_timeout": 0.5}, {}, "the run took longer than 0.5 seconds (run_timeout)"),
    ],
)
async def test_a_run_ends_at_its_deadline(
    join: Join, held: HeldComponent, settings: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    gateway = await join(components={"/test": held.server.url}, **settings)
    run = await submitted(gateway, HELD, 1, wait=True, **options)
    # On a busy machine it may end before its item has begun, so the component need not have been called.
    assert (run.status, run.cancel_reason) == (RunState.CANCELLED, reason)


@pytest.mark.parametrize("gateways", [1, 2])
async def test_items_that_wait_for_runs_give_their_places_back(join: Join, gateways: int) -> None:
    joined = [await join(max_executing_items=2) for _ in range(gateways)]
    flow = around(around(around(ECHO)))
    async with asyncio.timeout(120):
        runs = await asyncio.gather(*(submitted(joined[n % gateways], flow, n, wait=True) for n in range(20)))
    assert [run.status for run in runs] == [RunState.SUCCESS] * 20
