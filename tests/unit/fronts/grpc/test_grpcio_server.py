"""What the server on grpcio does itself. The tests of the front run on it as well."""

import asyncio
from typing import Literal

import pytest
from grpc import aio

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc.connections import Connections
from gateway.fronts.grpc.grpcio_server import GrpcioServer
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


class Stopped:
    """A server that only notes how many calls had begun when it was stopped."""

    def __init__(self, connections: Connections) -> None:
        self.begun = -1
        self._connections = connections

    async def stop(self, grace: float | None) -> None:
        self.begun = self._connections.begun


@pytest.mark.parametrize("calls", [0, 500, None])
async def test_a_stop_lets_calls_begin_that_have_come_but_not_for_ever(
    calls: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections(MemoryAccount(), 1.0)
    stopped = Stopped(connections)
    monkeypatch.setattr(aio, "server", lambda **_: stopped)
    server = GrpcioServer([], connections)
    loop = asyncio.get_running_loop()

    def begin() -> None:
        if stopped.begun < 0 and connections.begun != calls:
            connections.begun += 1
            loop.call_soon(begin)

    begin()
    await server.stop(1.0)
    assert stopped.begun > 0 if calls is None else stopped.begun == calls
