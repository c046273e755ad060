import socket
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.client import Client

from tests.support.free_port import free_port
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("end", [TemporalServer.kill, TemporalServer.stop], ids=["killed", "stopped"])
async def test_a_server_that_has_ended_comes_back_at_its_port_with_what_it_knew(tmp_path: Path, end) -> None:
    server = TemporalServer(tmp_path)
    await server.start()
    try:
        port = server.port
        client = await Client.connect(server.address)
        await client.start_workflow("nobody executes it", id="known", task_queue="none")
        await end(server)
        await server.start()
        assert server.port == port
        described = await (await Client.connect(server.address)).get_workflow_handle("known").describe()
        assert described.raw_description.workflow_execution_info.status == Status.WORKFLOW_EXECUTION_STATUS_RUNNING
    finally:
        await server.kill()


async def test_a_port_that_another_program_has_taken_is_not_the_last_one_tried(tmp_path: Path, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1], free_port()]
        monkeypatch.setattr(
            "tests.support.temporal_server.free_port", lambda: ports.pop(0) if len(ports) > 1 else ports[0]
        )
        server = TemporalServer(tmp_path)
        await server.start()
        await server.stop()
    assert server.address == f"127.0.0.1:{ports[0]}"


async def test_tests_may_share_a_server(temporal_server: TemporalServer) -> None:
    client = await Client.connect(temporal_server.address)
    assert await client.service_client.check_health()
