"""An item on Temporal that takes long holds up no other, and executes again alone when its gateway dies."""

import json
import uuid
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.core.model import Blob, BlobType, GetParams, RunState, SubmitParams
from tests.support.clients import GrpcClient
from tests.support.held_component import HELD, HeldComponent
from tests.support.temporal_gateways import TemporalGateway, temporal_gateways
from tests.support.temporal_server import TemporalServer
from tests.support.updates import GrpcFollower

pytestmark = pytest.mark.slow

ITEMS = 24
SLOW = 1
"""An item in the middle of a chunk: with two chunks at once, the first ones have three items."""


async def have_ended(address: str, run_id: str, items: int) -> None:
    """Wait until so many items of a run have ended, although it goes on."""
    client = GrpcFollower(address)
    async with aclosing(client.updates(GetParams(run_id=run_id, wait=True))) as updates:
        async for update in updates:
            if update.status.items.success == items:
                break
    await client.close()


async def test_a_slow_item_holds_up_no_other_and_alone_executes_again(
    tmp_path: Path, temporal_server: TemporalServer
) -> None:
    held = HeldComponent()
    held.release(*(set(range(ITEMS)) - {SLOW}))
    (tmp_path / "objects").mkdir()
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    async with held.server.running() as url:
        arguments = ("--runtime", runtime, "--blobs", f"file://{tmp_path}/objects", "--component", f"/test={url}")
        async with temporal_gateways(tmp_path, 1, *arguments) as [first]:
            client = GrpcClient(first.grpc)
            flow_id = await client.put_blob(Blob(json.dumps(HELD), BlobType.FLOW))
            inputs = list(map(str, range(ITEMS)))
            run = await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs, max_concurrency=2))
            await have_ended(first.grpc, run.run_id, ITEMS - 1)
            second = TemporalGateway(tmp_path, 2, arguments, {})
            await second.start()
            try:
                await first.kill()
                await client.close()
                await held.executes(ITEMS + 1)
                held.release(SLOW)
                client = GrpcClient(second.grpc)
                found = await client.get(GetParams(run_id=run.run_id, wait=True, include_results=True))
                await client.close()
            finally:
                await second.kill()
    assert found.status is RunState.SUCCESS
    assert [result.value for result in found.results or ()] == inputs
    assert sorted(held.given) == sorted([*range(ITEMS), SLOW])
