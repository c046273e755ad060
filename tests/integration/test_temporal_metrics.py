"""What the SDK of Temporal counts is on the page of metrics of a gateway."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.support.clients import GrpcClient
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FLOW = Blob('{"steps": [], "output": {"$input": "$"}}', BlobType.FLOW)

EXPECTED = (
    'runs_gateway_temporal_task_slots_used{task="workflow"}',
    'runs_gateway_temporal_task_slots_free{task="workflow"}',
    'runs_gateway_temporal_pollers{task="activity"}',
    'runs_gateway_temporal_task_delay_seconds_count{task="workflow"}',
    'runs_gateway_temporal_task_seconds_count{task="activity"}',
    'runs_gateway_temporal_tasks_failed_total{task="activity"}',
    'runs_gateway_temporal_polls_total{result="task"}',
    'runs_gateway_temporal_cache_lookups_total{result="hit"}',
    "runs_gateway_temporal_cached_workflows",
    "runs_gateway_temporal_cache_evictions_total",
    'runs_gateway_temporal_requests_failed_total{request="short"}',
    'runs_gateway_object_storage_up{storage="file"}',
    "runs_gateway_temporal_chunks_executed_total",
    'runs_gateway_temporal_items_ended_total{state="success"}',
)
"""Series of each metric. Failures do not happen here; tests/unit/runtimes/temporal/test_sdk_metrics.py has them."""

MOVED = tuple(name for name in EXPECTED if not any(word in name for word in ("failed", "evict", "cached", "used")))


def series(page: str) -> dict[str, float]:
    """The values of a page, by name and labels."""
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_metrics_of_the_sdk_move_when_runs_execute(temporal_server: TemporalServer, tmp_path: Path) -> None:
    addresses: dict[str, Any] = dict.fromkeys(("grpc_address", "http_address", "metrics_address"), "127.0.0.1:0")
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    async with (
        running(ServeSettings(runtime=runtime, blobs=f"file://{tmp_path}", **addresses)) as gateway,
        aiohttp.ClientSession() as session,
    ):
        assert gateway.metrics is not None

        async def read() -> dict[str, float]:
            async with session.get(str(gateway.metrics)) as response:
                return series(await response.text())

        before = await read()
        client = GrpcClient(gateway.grpc)
        params = SubmitParams(flow_id=await client.put_blob(FLOW), inputs=["1", "2"], wait=True)
        assert (await client.submit(params)).status is RunState.SUCCESS
        await client.close()
        items = 'runs_gateway_temporal_items_ended_total{state="success"}'
        assert (await read())[items] >= before.get(items, 0) + 2
        # The rest comes with the next look into the buffer of the SDK.
        async with asyncio.timeout(60):
            while set(MOVED) - {name for name, value in (await read()).items() if value > 0}:
                pass
        assert set(EXPECTED) <= set(await read())
