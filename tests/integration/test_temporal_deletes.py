"""Runs on Temporal are deleted, on gateways that share a real server and a storage."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client

from gateway.core.control import CancelParams, DeleteParams, DeleteRunsParams, ItemsParams, ListParams
from gateway.core.errors import RunNotEnded, RunNotFound
from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from gateway.core.run_filter import RunFilter
from gateway.runtimes.temporal.messages import DELETED, NOWHERE
from gateway.runtimes.temporal.run_names import workflow_id
from gateway.runtimes.temporal.run_reader import LOOK_SECONDS
from tests.integration.conftest import Gateway, Join, Start
from tests.support.held_component import HELD, HeldComponent
from tests.support.temporal_server import TemporalServer
from tests.support.updates import GrpcFollower

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


async def test_nobody_goes_on_to_follow_a_deleted_run(join: Join) -> None:
    here, there = await join(), await join()
    run = await submitted(here, ECHO, 1, 2, wait=True)
    follower = GrpcFollower(here.addresses.grpc)
    updates = [update async for update in follower.updates(GetParams(run_id=run.run_id, include_results=True))]
    await follower.close()
    token = updates[-1].token
    await here.grpc.delete(DeleteParams(run_id=run.run_id))
    for gateway in (here, there):
        with pytest.raises(RunNotFound):
            await gateway.grpc.get(GetParams(run_id=run.run_id, wait=True, include_results=True, resume_token=token))


class Own(NamedTuple):
    """A server that comes to deleting workflows soon, with what an operator has of it, and a gateway on it."""

    gateway: Gateway
    client: Client

    async def until_there_are(self, executions: int, run: RunStatus) -> None:
        """Wait until the workflow of a run has so many executions."""
        query = f"WorkflowId = '{workflow_id(run.run_id)}'"
        while True:
            if len([each async for each in self.client.list_workflows(query)]) == executions:
                return
            await asyncio.sleep(0.1)


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    server = TemporalServer(tmp_path, **{"history.transferProcessorUpdateAckInterval": '"100ms"'})
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def place(own: TemporalServer, start: Start, tmp_path: Path) -> Own:
    gateway = await start(runtime=own.runtime(), blobs=f"file://{tmp_path}", metrics_address="off")
    return Own(gateway, await Client.connect(own.address))


async def test_nothing_of_a_deleted_run_stays_in_the_engine(place: Own) -> None:
    run = await submitted(place.gateway, ECHO, 1, wait=True)
    first = await place.client.get_workflow_handle(workflow_id(run.run_id)).describe()
    await place.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=first.id, run_id=first.run_id),
            workflow_task_finish_event_id=4,
            request_id="reset",
        )
    )
    async with asyncio.timeout(60):
        await place.until_there_are(2, run)
        again = place.client.get_workflow_handle(workflow_id(run.run_id))
        await again.result()
        await place.gateway.grpc.delete(DeleteParams(run_id=run.run_id))
        await place.until_there_are(0, run)


@pytest.mark.parametrize("closed", [True, False])
async def test_a_delete_that_was_cut_does_not_keep_the_key(place: Own, tmp_path: Path, closed: bool) -> None:
    run = await submitted(place.gateway, ECHO, LONG, idempotency_key="k", wait=True)
    # The gateway has come to the objects, and no further: then it is called again.
    for file in list(tmp_path.rglob(f"*{run.run_id}/*")):  # noqa: ASYNC240 - a handful of files
        file.unlink()
    await place.gateway.grpc.delete(DeleteParams(run_id=run.run_id))
    # It has come to the workflow that takes the place of the run, and no further.
    handle = await place.client.start_workflow(DELETED, id=workflow_id(run.run_id), task_queue=NOWHERE)
    with pytest.raises(RunNotFound):
        await place.gateway.grpc.get(GetParams(run_id=run.run_id))
    if closed:
        await handle.terminate()
    again = await submitted(place.gateway, ECHO, LONG, idempotency_key="k", wait=True)
    assert (again.status, again.run_id) == (RunState.SUCCESS, run.run_id)
    assert again.created_at > run.created_at
