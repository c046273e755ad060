"""Runs on Temporal are submitted at one gateway, followed at another one, and followed on at a third by its token."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from itertools import cycle, product

import pytest
from msgspec.structs import replace

from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, RunState, SubmitParams
from tests.integration.conftest import Gateway, Join
from tests.support.held_component import HELD, HeldComponent
from tests.support.updates import Follower, GrpcFollower, JsonRpcFollower, Update, folded

pytestmark = pytest.mark.slow

ENDING = [7, 2, 0, 1, 3, 4, 6, 5]
"""The items in the order in which they end."""

ITEMS = len(ENDING)

FRONTS = {"grpc": "G", "jsonrpc": "J", "both": "GJ"}
"""Over which fronts streams are resumed, in turn."""


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


@pytest.fixture
async def gateways(join: Join, held: HeldComponent) -> list[Gateway]:
    return [await join(components={"/test": held.server.url}) for _ in range(3)]


async def followers(gateways: Sequence[Gateway], fronts: str, stack: AsyncExitStack) -> list[Follower]:
    """Clients of the second gateway, of the third one, and of the first one, over these fronts in turn."""
    found: list[Follower] = []
    for number, front in zip(range(6), cycle(fronts), strict=False):
        addresses = gateways[(number + 1) % 3].addresses
        client = GrpcFollower(addresses.grpc) if front == "G" else JsonRpcFollower(addresses.http)
        stack.push_async_callback(client.close)
        found.append(client)
    return found


async def until(client: Follower, params: GetParams, items: int) -> list[Update]:
    """Follow a run until so many items have ended, for two updates at most."""
    told: list[Update] = []
    async with aclosing(client.updates(params)) as updates:
        async for update in updates:
            told.append(update)
            if update.status.items.success >= items or len(told) == 2:
                break
    return told


@pytest.mark.parametrize(("front", "order"), list(product(FRONTS, ResultOrder)))
async def test_a_stream_goes_on_at_another_gateway(
    gateways: list[Gateway], held: HeldComponent, front: str, order: ResultOrder
) -> None:
    flow_id = await gateways[0].grpc.put_blob(Blob(json.dumps(HELD), BlobType.FLOW))
    inputs = list(map(str, range(ITEMS)))
    run = await gateways[0].grpc.submit(SubmitParams(flow_id=flow_id, inputs=inputs, max_concurrency=ITEMS))
    params = GetParams(run_id=run.run_id, include_results=True, result_order=order)
    uncut = [asyncio.create_task(each.grpc.get(replace(params, wait=True))) for each in gateways]
    async with asyncio.timeout(60):
        await held.executes(ITEMS)
    told: list[Update] = []
    async with AsyncExitStack() as stack:
        clients = cycle(await followers(gateways, FRONTS[front], stack))
        for ended, item in enumerate(ENDING, 1):
            held.release(item)
            while not told or told[-1].status.items.success < ended:
                token = told[-1].token if told else b""
                told += await until(next(clients), replace(params, resume_token=token), ended)
        told += [update async for update in next(clients).updates(replace(params, resume_token=told[-1].token))]
    final = folded(told)
    assert final.status is RunState.SUCCESS
    assert [final] * 3 == await asyncio.gather(*uncut)
    indexes = [result.item_index for result in final.results or ()]
    assert indexes == (ENDING if order is ResultOrder.BY_COMPLETION else list(range(ITEMS)))
    assert not any(update.restarted for update in told)
    assert [update.revision for update in told] == sorted(update.revision for update in told)
