"""A cancel reaches the component that executes on another gateway, while many runs execute on all of them."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import pytest

from gateway.core.control import CancelParams
from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from tests.support.clients import GrpcClient
from tests.support.held_component import HELD, HeldComponent
from tests.support.load import Load
from tests.support.session import started_with
from tests.support.temporal_gateways import TemporalGateway
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

RUNS = int(started_with().get("CANCEL_RUNS", "45"))
"""How many runs execute. By hand, 200 of them show more."""

CANCELS = RUNS // 5
"""How many of them are cancelled, one after the other."""

CLIENTS = 4
"""How many clients submit and follow other runs meanwhile."""

LIMIT = 60.0
"""Within how many seconds a cancel has to arrive here. It takes two, but of a machine that is idle."""

PAUSE = 0.1
"""After how many seconds a call is repeated."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@pytest.fixture
async def held() -> AsyncIterator[list[HeldComponent]]:
    """A component server for each gateway."""
    changed = asyncio.Condition()
    async with AsyncExitStack() as stack:
        found = [HeldComponent(changed) for _ in range(3)]
        for each in found:
            await stack.enter_async_context(each.server.running())
        yield found


@pytest.fixture
async def gateways(
    temporal_server: TemporalServer, held: list[HeldComponent], tmp_path: Path
) -> AsyncIterator[list[TemporalGateway]]:
    (tmp_path / "objects").mkdir()
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    shared = ("--runtime", runtime, "--blobs", f"file://{tmp_path}/objects", "--component")
    gateways = [
        TemporalGateway(tmp_path, number, (*shared, f"/test={each.server.url}"), {}) for number, each in enumerate(held)
    ]
    try:
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        yield gateways
    finally:
        await asyncio.gather(*(gateway.kill() for gateway in gateways))


async def insisted(call: Callable[[], Awaitable[_T]]) -> _T:
    """What a call returns that is repeated as clients do it: the engine of a busy machine may be late."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(PAUSE)


def executing(held: list[HeldComponent], number: int) -> list[int]:
    """Where the item of a run executes: what a busy engine takes for dead is executed again."""
    return [index for index, each in enumerate(held) if each.given.count(number) > each.lost.count(number)]


async def cancelled(
    clients: list[GrpcClient], held: list[HeldComponent], number: int, run_id: str
) -> tuple[float, float]:
    """Cancel a run at another gateway than the one that executes it.

    Returns after how long its component was told, and after how long the run had ended.
    """
    changed = held[0].changed
    async with asyncio.timeout(LIMIT), changed:
        where = (await changed.wait_for(lambda: executing(held, number)))[-1]
    began = time.monotonic()

    async def told() -> float:
        async with changed:
            await changed.wait_for(lambda: not executing(held, number))
        return time.monotonic() - began

    async def over() -> float:
        params = CancelParams(run_id=run_id, wait=True, timeout=LIMIT)
        ended = await insisted(lambda: clients[(where + 1) % len(clients)].cancel(params))
        assert ended.status is RunState.CANCELLED
        return time.monotonic() - began

    async with asyncio.timeout(LIMIT):
        return await asyncio.gather(told(), over())


def run_of(flow_id: str, number: int) -> SubmitParams:
    """A run that is the same when it is submitted again."""
    return SubmitParams(flow_id=flow_id, inputs=[str(number)], idempotency_key=str(number))


async def test_cancels_reach_other_gateways_while_many_runs_execute(
    gateways: list[TemporalGateway], held: list[HeldComponent]
) -> None:
    changed = held[0].changed
    addresses = [each.grpc for each in gateways], [each.http for each in gateways]
    clients = [GrpcClient(address) for address in addresses[0]]
    flow_id = await clients[0].put_blob(Blob(json.dumps(HELD), BlobType.FLOW))
    async with Load(*addresses, [{"output": {"$input": "$"}}]) as load, asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(load.go_on(f"client {number}"))
        async with asyncio.timeout(LIMIT):
            runs = await asyncio.gather(
                *(insisted(partial(clients[number % 3].submit, run_of(flow_id, number))) for number in range(RUNS))
            )
        async with asyncio.timeout(LIMIT), changed:
            await changed.wait_for(lambda: all(executing(held, number) for number in range(RUNS)))
        seconds = [await cancelled(clients, held, number, runs[number].run_id) for number in range(CANCELS)]
        load.stop()
    for client in clients:
        await client.close()
    for what, found in zip(("their components told", "their ends"), zip(*seconds, strict=True), strict=True):
        _log.info("of %d cancels, %s: p50 %.2f s, at most %.2f s", CANCELS, what, median(found), max(found))
    async with asyncio.timeout(LIMIT), changed:
        await changed.wait_for(lambda: all(executing(held, number) for number in range(CANCELS, RUNS)))
    assert not any(executing(held, number) for number in range(CANCELS))
