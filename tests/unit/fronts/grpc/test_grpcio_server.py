"""What the server on grpcio does itself. The tests of the front run on it as well."""

import asyncio
from typing import Literal

import pytest

from gateway.fronts.grpc.server import GrpcLimits, create_server
from tests.support.tasks import all_ended


@pytest.mark.parametrize("transport", ["grpcio", "native"])
async def test_a_start_that_is_cancelled_leaves_a_server_that_stops(
    transport: Literal["grpcio", "native"], caplog: pytest.LogCaptureFixture
) -> None:
    server = create_server(GrpcLimits(receive=1 << 20), transport)
    server.add_insecure_port("127.0.0.1:0")
    starting = asyncio.create_task(server.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await server.stop(0)
    await all_ended()
    assert caplog.records == []
