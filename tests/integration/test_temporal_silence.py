"""While no gateway executes anything, others answer soon, with what is known, and find those that come."""

import asyncio
import time

import pytest

from gateway.core.control import CancelParams, ListParams
from gateway.core.errors import Unavailable
from gateway.core.model import GetParams, RunState
from gateway.core.run_filter import RunFilter
from gateway.runtimes.temporal.question_patience import ANSWER_SECONDS
from tests.integration.conftest import Join
from tests.integration.test_temporal_outside import submitted, until_done
from tests.support.held_component import HeldComponent

pytestmark = pytest.mark.slow


async def test_a_run_that_nobody_begins_is_told_and_cancelled_soon(join: Join) -> None:
    front = await join(gateway_roles=("front",))
    run = await submitted(front, 1, 2)
    other = await join(gateway_roles=("front",))
    for gateway in (front, other):
        began = time.monotonic()
        assert (await gateway.grpc.get(GetParams(run_id=run.run_id))).status is RunState.PENDING
        assert (await gateway.grpc.cancel(CancelParams(run_id=run.run_id))).status is RunState.PENDING
        assert time.monotonic() - began < ANSWER_SECONDS
    await join()
    async with asyncio.timeout(30):
        ended = await front.grpc.get(GetParams(run_id=run.run_id, wait=True))
    assert (ended.status, ended.items.cancelled) == (RunState.CANCELLED, 2)


async def test_a_run_that_somebody_left_is_told_and_cancelled_soon(join: Join) -> None:
    front = await join(gateway_roles=("front",))
    held = HeldComponent()
    held.release(2)
    async with held.server.running() as url:
        worker = await join(components={"/test": url})
        run = await submitted(front, 1, 2, 3)
        known = await until_done(front, run, 1)
        await worker.stop()
    other = await join(gateway_roles=("front",))
    for gateway in (front, other):
        # It takes that long to find out that the worker is gone.
        with pytest.raises(Unavailable):
            await gateway.grpc.get(GetParams(run_id=run.run_id))
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await gateway.grpc.get(GetParams(run_id=run.run_id))
        assert (await gateway.grpc.cancel(CancelParams(run_id=run.run_id))).status is RunState.RUNNING
        listed = (await gateway.grpc.list_runs(ListParams(filter=RunFilter()))).runs
        assert [each.run_id for each in listed] == [run.run_id]
        assert time.monotonic() - began < ANSWER_SECONDS
    assert (await front.grpc.cancel(CancelParams(run_id=run.run_id))).items == known.items
    await join()
    async with asyncio.timeout(30):
        ended = await other.grpc.get(GetParams(run_id=run.run_id, wait=True))
    assert (ended.status, ended.items.success, ended.items.cancelled) == (RunState.CANCELLED, 1, 2)
