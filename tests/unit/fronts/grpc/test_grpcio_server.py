"""What the server on grpcio does itself. The tests of the front run on it as well."""

import asyncio
from typing import Any, Literal

import grpc
import pytest

from gateway.core.errors import shutting_down
from gateway.fronts.grpc.calls import Context, handler
from gateway.fronts.grpc.server import GrpcLimits, add_methods, create_server
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


class Ending:
    """A service that is about to stop."""

    def __init__(self) -> None:
        self.called = asyncio.Event()

    @handler
    async def call(self, request: bytes, context: Context) -> bytes:
        self.called.set()
        raise shutting_down()


async def test_calls_that_have_come_before_a_stop_are_told_of_it() -> None:
    ending = Ending()
    server = create_server(GrpcLimits(receive=1 << 20))
    method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(ending.call)
    add_methods(server, "service", {"Call": method})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary("/service/Call")
        calls = [call(b"") for _ in range(200)]
        await ending.called.wait()
        await server.stop(1.0)
        assert {await each.code() for each in calls} == {grpc.StatusCode.UNAVAILABLE}
