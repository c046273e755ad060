"""Runs on Temporal that an operator ends or resets in the engine, past all gateways."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    ResetWorkflowExecutionRequest,
    RespondWorkflowTaskFailedRequest,
)
from temporalio.client import Client, WorkflowHandle

from gateway.core.control import ListParams
from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.core.run_filter import RunFilter
from gateway.runtimes.temporal.messages import NESTED, TASK_QUEUE
from tests.integration.conftest import Gateway, Start
from tests.support.held_component import HELD, HeldComponent
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow


class Place(NamedTuple):
    """A namespace of the server, which gateways share with their objects."""

    start: Start
    runtime: str
    blobs: str
    server: TemporalServer

    async def gateway(self, **settings: Any) -> Gateway:
        return await self.start(runtime=self.runtime, blobs=self.blobs, metrics_address="off", **settings)

    async def workflow(self, run: RunStatus) -> WorkflowHandle[Any, Any]:
        """What an operator has of a run."""
        client = await Client.connect(self.server.address, namespace=self.runtime.rpartition("/")[2])
        return client.get_workflow_handle(f"run-{run.run_id}")


@pytest.fixture
def place(start: Start, temporal_server: TemporalServer, tmp_path: Path) -> Place:
    (tmp_path / "objects").mkdir()
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    return Place(start, runtime, f"file://{tmp_path}/objects", temporal_server)


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


async def submitted(gateway: Gateway, *inputs: Any) -> RunStatus:
    flow_id = await gateway.grpc.put_blob(Blob(json.dumps(HELD), BlobType.FLOW))
    return await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=list(map(json.dumps, inputs))))


async def until_done(gateway: Gateway, run: RunStatus, count: int) -> RunStatus:
    """Wait until some items have results."""
    async with asyncio.timeout(30), aclosing(gateway.grpc.follow(GetParams(run_id=run.run_id, wait=True))) as updates:
        async for status in updates:
            if status.items.success >= count:
                return status
    raise AssertionError(f"the run has ended before: {status}")


async def test_a_terminated_run_keeps_its_results_on_all_gateways(place: Place, held: HeldComponent) -> None:
    one = await place.gateway(components={"/test": held.server.url})
    other = await place.gateway(gateway_roles=("front",))
    held.release(2)
    run = await submitted(one, 1, 2, 3)
    await until_done(one, run, 1)
    await (await place.workflow(run)).terminate("by hand")
    told = []
    async with asyncio.timeout(30):
        for gateway in (one, other):
            for order in ResultOrder:
                params = GetParams(run_id=run.run_id, wait=True, include_results=True, result_order=order)
                told.append(await gateway.grpc.get(params))
    assert told[0] == told[2]
    assert told[1] == told[3]
    ended = told[1]
    assert (ended.status, ended.items.success, ended.items.cancelled) == (RunState.CANCELLED, 1, 2)
    assert ended.cancel_reason == "the run was ended in the engine (terminated)"
    assert ended.results is not None
    assert [each.item_index for each in ended.results] == [1, 0, 2]
    await held.loses(2)


async def test_a_run_that_was_terminated_before_anybody_began_is_cancelled(place: Place) -> None:
    front = await place.gateway(gateway_roles=("front",))
    run = await submitted(front, 1, 2)
    await (await place.workflow(run)).terminate()
    async with asyncio.timeout(30):
        ended = await front.grpc.get(GetParams(run_id=run.run_id, wait=True))
    assert (ended.status, ended.items.cancelled) == (RunState.CANCELLED, 2)


async def until_listed(gateway: Gateway, wanted: RunFilter) -> RunStatus:
    """Wait until there is a run that matches in the engine's index."""
    while True:
        if runs := (await gateway.grpc.list_runs(ListParams(filter=wanted))).runs:
            return runs[0]
        await asyncio.sleep(0.1)


async def test_runs_inside_a_terminated_run_are_cancelled(place: Place, held: HeldComponent) -> None:
    worker = await place.gateway(components={"/test": held.server.url})
    front = await place.gateway(gateway_roles=("front",))
    given = {"workflow": {"$literal": HELD}, "items": [1]}
    around = {"steps": [{"id": "m", "component": "/builtin/map", "input": given}], "output": {"$step": "m"}}
    flow_id = await front.grpc.put_blob(Blob(json.dumps(around), BlobType.FLOW))
    run = await front.grpc.submit(SubmitParams(flow_id=flow_id, inputs=["1"]))
    async with asyncio.timeout(60):
        await held.executes(1)
        inner = await until_listed(front, RunFilter(parent_run_id=run.run_id))
        await (await place.workflow(run)).terminate()
        assert (await front.grpc.get(GetParams(run_id=run.run_id, wait=True))).status is RunState.CANCELLED
        inner = await worker.grpc.get(GetParams(run_id=inner.run_id, wait=True))
        await held.loses(1)
    assert inner.status is RunState.CANCELLED
    assert run.run_id in (inner.cancel_reason or "")


async def fail_steps(place: Place, run: RunStatus, number: int) -> None:
    """Take the next steps of a run as a gateway does that fails at each."""
    workflow = await place.workflow(run)
    namespace = (await workflow.describe()).namespace
    service = (await Client.connect(place.server.address)).workflow_service
    poll = PollWorkflowTaskQueueRequest(namespace=namespace, task_queue=TaskQueue(name=TASK_QUEUE), identity="fails")
    for _ in range(number):
        step = await service.poll_workflow_task_queue(poll)
        assert step.workflow_execution.workflow_id == workflow.id
        cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
        await service.respond_workflow_task_failed(
            RespondWorkflowTaskFailedRequest(namespace=namespace, task_token=step.task_token, cause=cause)
        )


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_terminated_run_at_whose_last_steps_gateways_failed(
    place: Place, held: HeldComponent, has_begun: bool
) -> None:
    front = await place.gateway(gateway_roles=("front",))
    if has_begun:
        held.release(2)
        worker = await place.gateway(components={"/test": held.server.url})
    run = await submitted(front, 1, 2, 3)
    if has_begun:
        await until_done(front, run, 1)
        await worker.stop()
    workflow = await place.workflow(run)
    await workflow.signal(NESTED)
    await fail_steps(place, run, 3)
    await workflow.terminate()
    async with asyncio.timeout(30):
        ended = await front.grpc.get(GetParams(run_id=run.run_id, wait=True))
    assert (ended.status, ended.items.success) == (RunState.CANCELLED, int(has_begun))


async def reset(place: Place, run: RunStatus) -> None:
    """Let a run go on from its first step, as an operator does."""
    described = await (await place.workflow(run)).describe()
    client = await Client.connect(place.server.address)
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=described.namespace,
            workflow_execution=WorkflowExecution(workflow_id=described.id, run_id=described.run_id),
            workflow_task_finish_event_id=4,
            request_id=str(uuid.uuid4()),
        )
    )


async def test_an_end_that_was_told_stays_when_the_run_is_reset(place: Place, held: HeldComponent) -> None:
    gateway = await place.gateway(components={"/test": held.server.url})
    run = await submitted(gateway, 1)
    held.release(1)
    async with asyncio.timeout(30):
        ended = await gateway.grpc.get(GetParams(run_id=run.run_id, wait=True))
        await reset(place, run)
        assert await gateway.grpc.get(GetParams(run_id=run.run_id)) == ended
        other = await place.gateway(gateway_roles=("front",))
        again = await other.grpc.get(GetParams(run_id=run.run_id, wait=True))
    assert (again.status, again.items) == (ended.status, ended.items)
    assert (again.completed_at or 0) > (ended.completed_at or 0)


async def test_a_run_that_is_reset_goes_on(place: Place, held: HeldComponent) -> None:
    gateway = await place.gateway(components={"/test": held.server.url})
    run = await submitted(gateway, 1, 2)
    async with asyncio.timeout(30):
        await held.executes(2)
    waiting = asyncio.create_task(gateway.grpc.get(GetParams(run_id=run.run_id, wait=True)))
    await reset(place, run)
    held.release(1)
    held.release(2)
    async with asyncio.timeout(30):
        assert (await waiting).status is RunState.SUCCESS
