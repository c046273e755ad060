"""What a workflow asks the engine for comes out the same when its history is replayed, as on another gateway."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from gateway.runtimes.temporal.converter import DATA_CONVERTER
from gateway.runtimes.temporal.run_names import workflow_id
from gateway.runtimes.temporal.workflow import RunWorkflow
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.support.clients import GrpcClient
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FLOW = Blob('{"steps": [], "output": {"$input": "$"}}', BlobType.FLOW)


@pytest.mark.parametrize("items", [1, 600])
async def test_a_history_is_replayed(temporal_server: TemporalServer, tmp_path: Path, items: int) -> None:
    namespace = f"test-{uuid.uuid4()}"
    addresses: dict[str, Any] = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    settings = ServeSettings(
        runtime=temporal_server.runtime(namespace), blobs=f"file://{tmp_path}", metrics_address="off", **addresses
    )
    async with running(settings) as gateway:
        client = GrpcClient(gateway.grpc)
        flow_id = await client.put_blob(FLOW)
        status = await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"] * items, wait=True))
        await client.close()
    assert status.status is RunState.SUCCESS
    engine = await Client.connect(temporal_server.address, namespace=namespace, data_converter=DATA_CONVERTER)
    history = await engine.get_workflow_handle(workflow_id(status.run_id)).fetch_history()
    replayer = Replayer(
        workflows=[RunWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=DATA_CONVERTER,
        debug_mode=True,  # Else what takes 2 s on a busy machine counts as a deadlock.
    )
    await replayer.replay_workflow(history)
