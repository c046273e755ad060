"""Runs on Temporal are deleted, on gateways that share a real server and a storage."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.core.control import CancelParams, DeleteParams, DeleteRunsParams, ItemsParams, ListParams
from gateway.core.errors import RunNotEnded, RunNotFound
from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from gateway.core.run_filter import RunFilter
from gateway.runtimes.temporal.run_reader import LOOK_SECONDS
from tests.integration.conftest import Gateway, Join
from tests.support.held_component import HELD, HeldComponent

pytestmark = pytest.mark.slow

ECHO = {"steps": [], "output": {"$input": "$"}}
LONG = "x" * 200_000


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


async def submitted(gateway: Gateway, flow: dict[str, Any], *inputs: Any, **options: Any) -> RunStatus:
    flow_id = await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
    return await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=list(map(json.dumps, inputs)), **options))


async def listed(gateway: Gateway) -> set[str]:
    return {run.run_id for run in (await gateway.grpc.list_runs(ListParams())).runs}


async def until_gone(read: Callable[[], Awaitable[object]]) -> None:
    """Read until there is nothing to be read any more."""
    async with asyncio.timeout(LOOK_SECONDS + 30):
        while True:
            try:
                await read()
            except RunNotFound:
                return
            await asyncio.sleep(0.1)


async def test_a_deleted_run_is_gone_with_its_objects(join: Join, tmp_path: Path) -> None:
    gateway = await join()
    run = await submitted(gateway, ECHO, LONG, wait=True)
    assert list((tmp_path / "objects").rglob(f"*{run.run_id}/*"))
    await gateway.grpc.delete(DeleteParams(run_id=run.run_id))
    for call in (
        lambda: gateway.grpc.get(GetParams(run_id=run.run_id)),
        lambda: gateway.jsonrpc.get(GetParams(run_id=run.run_id, wait=True)),
        lambda: gateway.grpc.items(ItemsParams(run_id=run.run_id)),
        lambda: gateway.grpc.cancel(CancelParams(run_id=run.run_id)),
        lambda: gateway.grpc.delete(DeleteParams(run_id=run.run_id)),
    ):
        with pytest.raises(RunNotFound):
            await call()
    assert run.run_id not in await listed(gateway)
    assert not list((tmp_path / "objects").rglob(f"*{run.run_id}/*"))


async def test_other_gateways_learn_of_a_delete(join: Join) -> None:
    here, there = await join(), await join()
    run = await submitted(here, ECHO, LONG, wait=True)
    assert (await there.grpc.get(GetParams(run_id=run.run_id, wait=True))).status is RunState.SUCCESS
    await here.grpc.delete(DeleteParams(run_id=run.run_id))
    await until_gone(lambda: there.grpc.get(GetParams(run_id=run.run_id)))
    with pytest.raises(RunNotFound):
        await there.grpc.get(GetParams(run_id=run.run_id, wait=True))
    with pytest.raises(RunNotFound):
        await there.grpc.items(ItemsParams(run_id=run.run_id))
    with pytest.raises(RunNotFound):
        await there.grpc.delete(DeleteParams(run_id=run.run_id))
    # One that has not known the run finds nothing at once.
    with pytest.raises(RunNotFound):
        await (await join()).grpc.get(GetParams(run_id=run.run_id))


async def test_the_key_of_a_deleted_run_makes_a_new_one_on_any_gateway(join: Join) -> None:
    gateways = [await join(), await join()]
    earlier: RunStatus | None = None
    for round_ in range(4):
        one, other = gateways[round_ % 2], gateways[(round_ + 1) % 2]
        run = await submitted(one, ECHO, LONG, idempotency_key="k", wait=True)
        assert run.status is RunState.SUCCESS
        assert earlier is None or (run.run_id == earlier.run_id and run.created_at > earlier.created_at)
        assert (await submitted(other, ECHO, LONG, idempotency_key="k", wait=True)).created_at == run.created_at
        assert run.run_id in await listed(one)
        await other.grpc.delete(DeleteParams(run_id=run.run_id))
        earlier = run
    # Results of the one before are not taken for those of the next.
    run = await submitted(gateways[0], ECHO, LONG, idempotency_key="k")
    ended = await gateways[0].grpc.get(GetParams(run_id=run.run_id, wait=True, include_results=True))
    assert [result.value for result in ended.results or ()] == [json.dumps(LONG)]


async def test_a_run_that_executes_is_deleted_with_a_cancel(join: Join, held: HeldComponent) -> None:
    worker = await join(components={"/test": held.server.url})
    front = await join(gateway_roles=("front",))
    run = await submitted(front, HELD, 1)
    async with asyncio.timeout(30):
        await held.executes(1)
    following = asyncio.create_task(worker.grpc.get(GetParams(run_id=run.run_id, wait=True)))
    with pytest.raises(RunNotEnded):
        await front.grpc.delete(DeleteParams(run_id=run.run_id))
    await front.grpc.delete(DeleteParams(run_id=run.run_id, cancel=True))
    with pytest.raises(RunNotFound):
        await front.grpc.get(GetParams(run_id=run.run_id))
    # It may be gone before the follower has been told of its end.
    with suppress(RunNotFound):
        assert (await following).status is RunState.CANCELLED


async def test_runs_inside_a_deleted_run_stay(join: Join) -> None:
    gateway = await join()
    given = {"workflow": {"$literal": ECHO}, "items": [1, 2]}
    outer = {"steps": [{"id": "m", "component": "/builtin/map", "input": given}], "output": {"$step": "m"}}
    run = await submitted(gateway, outer, 1, wait=True)
    [inner] = await listed(gateway) - {run.run_id}
    await gateway.grpc.delete(DeleteParams(run_id=run.run_id))
    assert (await gateway.grpc.get(GetParams(run_id=inner))).parent_run_id == run.run_id


async def test_runs_are_deleted_by_a_filter(join: Join) -> None:
    here, there = await join(), await join()
    runs = [await submitted(here, ECHO, n, labels={"go": "yes"}, wait=True) for n in range(12)]
    stays = await submitted(here, ECHO, 1, wait=True)
    told = await here.grpc.delete_many(DeleteRunsParams(filter=RunFilter(labels={"go": "yes"})))
    assert (told.matched, told.done, told.unchanged) == (12, 12, 0)
    assert await listed(here) == {stays.run_id}
    for run in runs:
        with pytest.raises(RunNotFound):
            await there.grpc.get(GetParams(run_id=run.run_id))
