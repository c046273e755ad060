"""Items that count as finished before their results exist, as an engine's do, and gateways above that count on them."""

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, RunState, SubmitParams
from tests.integration.conftest import Start
from tests.support.clients import fold
from tests.support.held_tasks import COMPONENT, engine_with_held_tasks
from tests.support.updates import GrpcFollower

pytestmark = pytest.mark.slow

FLOW = {"steps": [{"id": "only", "component": COMPONENT, "input": {"$input": "$"}}], "output": {"$step": "only"}}
UPSTREAMS: dict[str, Callable[..., str]] = {
    "relay": lambda addresses: f"grpc://{addresses.grpc}",
    "jsonrpc": lambda addresses: f"jsonrpc+http://{addresses.http}/",
}
LIMIT = 60.0


@pytest.mark.parametrize("order", ResultOrder)
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_a_gateway_above_waits_for_results_that_are_counted_already(
    start: Start, tmp_path: Path, upstream: str, order: ResultOrder
) -> None:
    async with engine_with_held_tasks("0.13.0", tmp_path) as (engine, tasks):
        lower = await start(runtime=engine.runtime)
        upper = await start(runtime=UPSTREAMS[upstream](lower.addresses))
        flow_id = await lower.grpc.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))
        inputs = [f'{{"n":{n}}}' for n in range(3)]
        run_id = (await upper.grpc.submit(SubmitParams(flow_id=flow_id, inputs=inputs))).run_id
        params = GetParams(run_id=run_id, include_results=True, result_order=order)
        follower = GrpcFollower(upper.addresses.grpc)
        statuses = []
        async with asyncio.timeout(LIMIT), aclosing(follower.updates(params)) as updates:
            await tasks.waiting(3)
            await tasks.end({"n": 1})
            async for update in updates:
                statuses.append(update.status)
                if update.status.items.success == 1:
                    await tasks.end()
        await follower.close()
        assert any(status.items.success and not status.results for status in statuses)
        assert statuses[-1].status is RunState.SUCCESS
        results = fold(statuses).results or []
        assert [result.value for result in results] == inputs  # The engine has all of them end at once, in this order.
        assert results == (await lower.grpc.get(params)).results
