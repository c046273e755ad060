"""Items of runs on Temporal are told with what they came to, by any gateway of a real server."""

import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.control import CancelParams, ItemsParams
from gateway.core.items import Item, StepState
from gateway.core.model import Blob, BlobType, RunState, RunStatus, SubmitParams
from tests.integration.conftest import Gateway, Join
from tests.support.component_server import Call, ComponentServer
from tests.support.held_component import HELD, HeldComponent

pytestmark = pytest.mark.slow

PICKY = {
    "steps": [
        {
            "id": "s",
            "component": "/test/picky",
            "input": {"$input": "$"},
            "onError": {"action": "retry", "maxRetries": 1},
        }
    ],
    "output": {"$step": "s"},
}
HANDSHAKE: dict[str, Any] = {
    "initialize": {"serverProtocolVersion": 1},
    "components/list": {"components": [{"component": "/picky"}]},
}
SECOND_TIME, NEVER = 7, 11
"""The inputs that the component takes when it is given them again, and not at all."""


@pytest.fixture
async def picky() -> AsyncIterator[str]:
    given: list[Any] = []

    async def answer(call: Call) -> None:
        value = call.message["params"]["input"]
        given.append(value)
        if value == NEVER or (value == SECOND_TIME and given.count(value) == 1):
            await call.error(-32100, "no")
        else:
            await call.result({"output": value})

    async with ComponentServer(answer, HANDSHAKE).running() as url:
        yield url


async def submitted(gateway: Gateway, flow: dict[str, Any], inputs: list[str], **options: Any) -> RunStatus:
    flow_id = await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
    return await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=inputs, **options))


async def listed(gateway: Gateway, run_id: str, *states: RunState, size: int = 0, inputs: bool = False) -> list[Item]:
    """All items in some states, page by page."""
    items: list[Item] = []
    token = ""
    while True:
        page = await gateway.grpc.items(
            ItemsParams(run_id=run_id, states=states, page_size=size, page_token=token, include_inputs=inputs)
        )
        items += page.items
        token = page.next_page_token
        if not token:
            return items


async def test_items_tell_their_steps_attempts_and_inputs_on_each_gateway(join: Join, picky: str) -> None:
    worker = await join(components={"/test": picky})
    front = await join(gateway_roles=("front",))
    inputs = [str(n) for n in range(300)]
    run = await submitted(worker, PICKY, inputs, wait=True)
    assert (run.items.success, run.items.failed) == (299, 1)
    for gateway in (front, worker):
        items = await listed(gateway, run.run_id, size=70, inputs=True)
        assert [(item.item_index, item.input) for item in items] == list(enumerate(inputs))
        assert {item.item_index for item in items if item.status is RunState.FAILED} == {NEVER}
        assert all(item.result is not None and item.attempts == 1 for item in items)
        for index, state, attempts in (
            (0, StepState.SUCCESS, 1),
            (SECOND_TIME, StepState.SUCCESS, 2),
            (NEVER, StepState.FAILED, 2),
        ):
            item = items[index]
            [step] = item.steps
            assert (step.step_id, step.component, step.status, step.attempts) == ("s", "/test/picky", state, attempts)
            assert run.created_at <= (item.started_at or 0) <= (step.started_at or 0) <= (step.completed_at or 0)
            assert (step.completed_at or 0) <= (item.completed_at or 0)
        error = items[NEVER].steps[0].error
        assert error is not None
        assert error.code == -32100
        assert [item.item_index for item in await listed(gateway, run.run_id, RunState.FAILED)] == [NEVER]
        assert len(await listed(gateway, run.run_id, RunState.SUCCESS, size=100)) == 299
        assert await listed(gateway, run.run_id, RunState.PENDING, RunState.RUNNING, RunState.CANCELLED) == []


async def test_items_of_a_run_are_told_while_it_executes_and_when_it_is_cancelled(join: Join) -> None:
    held = HeldComponent()
    held.release(*(n for n in range(300) if n < 100))
    async with held.server.running() as url:
        gateway = await join(components={"/test": url})
        inputs = [str(n) for n in range(300)]
        run = await submitted(gateway, HELD, inputs, max_concurrency=2)
        async with held.changed:
            await held.changed.wait_for(lambda: len([n for n in held.given if n >= 100]) == 2)
        items = await listed(gateway, run.run_id, size=90, inputs=True)
        assert [(item.item_index, item.input) for item in items] == list(enumerate(inputs))
        count = {state: [item for item in items if item.status is state] for state in RunState}
        assert len(count[RunState.RUNNING]) == 2
        assert not count[RunState.CANCELLED]
        assert not count[RunState.FAILED]
        for state in RunState:
            assert await listed(gateway, run.run_id, state, size=40, inputs=True) == count[state]
        ended = await gateway.grpc.cancel(CancelParams(run_id=run.run_id, wait=True))
        items = await listed(gateway, run.run_id)
        done, cancelled = RunState.SUCCESS, RunState.CANCELLED
        assert [item.status for item in items] == [done] * 100 + [cancelled] * 200
        assert {item.completed_at for item in items[100:]} == {ended.completed_at}
        assert await listed(gateway, run.run_id, cancelled, size=30) == items[100:]
        assert await listed(gateway, run.run_id, done) == items[:100]


@pytest.mark.parametrize("length", [1_000, 300_000])
async def test_encrypted_inputs_are_told_and_long_ones_make_several_pages(
    join: Join, tmp_path: Path, length: int
) -> None:
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(os.urandom(32)))
    key.chmod(0o600)
    gateway = await join(payload_key=str(key))
    inputs = [json.dumps(str(n) * length) for n in range(8)]
    run = await submitted(gateway, {"output": {"$input": "$"}}, inputs, wait=True)
    first = await gateway.grpc.items(ItemsParams(run_id=run.run_id, include_inputs=True))
    assert 0 < len(first.items) < 8 or (length == 1_000 and len(first.items) == 8)
    items = await listed(gateway, run.run_id, inputs=True)
    assert [item.input for item in items] == inputs
    assert [item.result.value if item.result else None for item in items] == inputs
