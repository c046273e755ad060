"""What the native transport does itself. The tests of the front run on it as well as on grpcio."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc import native_server
from gateway.fronts.grpc.connections import Connections
from gateway.fronts.grpc.server import GrpcLimits, create_server
from tests.support.tasks import all_ended

LIMIT = 30.0
GRACE = 600.0
SERVICE = "test.Test"

Method = Callable[[bytes, Any], Awaitable[Any]]
Serve = Callable[..., Awaitable[tuple[grpc.aio.Server, grpc.aio.Channel]]]


@pytest.fixture
def account() -> MemoryAccount:
    """What the calls of the server draw from."""
    return MemoryAccount()


@pytest.fixture
async def serve(account: MemoryAccount) -> AsyncIterator[Serve]:
    """Start a server with one method, called `Method`, that takes and gives bytes, and a channel to it."""
    closing: list[tuple[grpc.aio.Server, grpc.aio.Channel]] = []

    async def start(
        method: Method, *, stream: bool = False, receive: int = 1 << 20
    ) -> tuple[grpc.aio.Server, grpc.aio.Channel]:
        server = create_server(GrpcLimits(receive=receive), "native", connections=Connections(account, LIMIT))
        make: Any = grpc.unary_stream_rpc_method_handler if stream else grpc.unary_unary_rpc_method_handler
        server.add_registered_method_handlers(SERVICE, {"Method": make(method, _same, _same)})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1)])
        closing.append((server, channel))
        return server, channel

    yield start
    for server, channel in closing:
        await channel.close()
        await server.stop(0)
    await all_ended()


def _same(message: bytes) -> bytes:
    return message


def unary(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(f"/{SERVICE}/Method")


def stream(channel: grpc.aio.Channel) -> Any:
    return channel.unary_stream(f"/{SERVICE}/Method")


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_method_knows_how_much_time_is_left(serve: Serve) -> None:
    async def remaining(_: bytes, context: Any) -> bytes:
        return repr(context.time_remaining()).encode()

    _, channel = await serve(remaining)
    assert await unary(channel)(b"") == b"None"
    assert 0 < float(await unary(channel)(b"", timeout=600)) < 601


async def test_an_abort_carries_its_trailers(serve: Serve) -> None:
    trailers = (("grpc-status-details-bin", bytes(range(256)) * 20), ("name", "value"))

    async def abort(_: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no süch\nthing", trailers)

    _, channel = await serve(abort)
    error = await failure(unary(channel)(b""))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no süch\nthing")
    assert set(error.trailing_metadata()) == set(trailers)


async def test_messages_that_were_sent_before_an_abort_arrive(serve: Serve) -> None:
    async def count(_: bytes, context: Any) -> None:
        for number in range(100):
            await context.write(str(number).encode() * 10_000)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "enough")

    _, channel = await serve(count, stream=True)
    call = stream(channel)(b"")
    assert [len(await call.read()) for _ in range(100)] == [len(str(number)) * 10_000 for number in range(100)]
    assert (await failure(call.read())).code() is grpc.StatusCode.UNAVAILABLE


async def test_an_unexpected_exception_reaches_the_client_as_an_id_alone(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: bytes, __: Any) -> None:
        raise ValueError("the secret")

    _, channel = await serve(fail)
    error = await failure(unary(channel)(b""))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert re.fullmatch("internal error, id [0-9a-f]{32}", error.details() or "")
    assert "the secret" in caplog.text


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_request_above_the_limit_is_refused(serve: Serve, compression: grpc.Compression) -> None:
    async def length(request: bytes, _: Any) -> bytes:
        return str(len(request)).encode()

    _, channel = await serve(length, receive=1000)
    assert await unary(channel)(bytes(1000), compression=compression) == b"1000"
    error = await failure(unary(channel)(bytes(1001), compression=compression))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_readers_that_stall_hold_up_nobody(serve: Serve) -> None:
    """None of them takes a thread: the event loop's executor has not so many."""
    open_ = 0

    async def flood(_: bytes, context: Any) -> None:
        nonlocal open_
        open_ += 1
        try:
            while True:
                await context.write(bytes(1 << 20))
        finally:
            open_ -= 1

    server, channel = await serve(flood, stream=True)
    stalled = [stream(channel)(b"") for _ in range(64)]
    for call in stalled:
        await call.read()
    assert open_ == 64
    async with asyncio.timeout(LIMIT):
        assert await asyncio.to_thread(lambda: "free") == "free"
        await server.stop(0)
    assert open_ == 0


async def test_a_client_that_leaves_at_once_leaves_nothing_behind(serve: Serve, account: MemoryAccount) -> None:
    async def wait(request: bytes, _: Any) -> bytes:
        if not request:
            await asyncio.Event().wait()
        return request

    server, channel = await serve(wait)
    await channel.channel_ready()
    calls = [unary(channel)(b"") for _ in range(300)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    assert await unary(channel)(b"answer") == b"answer"
    await channel.close()
    async with asyncio.timeout(LIMIT):
        await server.stop(GRACE)
    assert account.held == 0


@pytest.mark.parametrize("size", [1, 1 << 20])
async def test_answers_given_at_the_end_arrive(serve: Serve, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine that does other things may need longer than the server would wait.
    monkeypatch.setattr(native_server, "_FLUSH_SECONDS", (100.0, 100.0))
    asked = asyncio.Semaphore(0)
    answer = asyncio.Event()

    async def wait(_: bytes, __: Any) -> bytes:
        asked.release()
        await answer.wait()
        return bytes(size)

    server, channel = await serve(wait)
    calls = [asyncio.ensure_future(unary(channel)(b"")) for _ in range(30)]
    for _ in calls:
        await asked.acquire()
    stopping = asyncio.create_task(server.stop(GRACE))
    await asyncio.sleep(0)
    answer.set()
    assert {len(response) for response in await asyncio.gather(*calls)} == {size}
    await stopping


async def test_while_it_stops_new_calls_are_refused(serve: Serve) -> None:
    asked = asyncio.Event()
    answer = asyncio.Event()

    async def wait(_: bytes, __: Any) -> bytes:
        asked.set()
        await answer.wait()
        return b"done"

    server, channel = await serve(wait)
    call = asyncio.ensure_future(unary(channel)(b""))
    await asked.wait()
    stopping = asyncio.create_task(server.stop(GRACE))
    await asyncio.sleep(0)
    assert (await failure(unary(channel)(b""))).code() is grpc.StatusCode.UNAVAILABLE
    answer.set()
    assert await call == b"done"
    await stopping
    await server.stop(GRACE)


async def test_methods_of_other_kinds_are_served_as_well(tmp_path: Path) -> None:
    async def total(requests: Any, _: Any) -> bytes:
        return str(sum([len(request) async for request in requests])).encode()

    async def echo(requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
        await context.abort(grpc.StatusCode.ABORTED, "the end", (("key", "value"),))

    async def count(request: bytes, _: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()

    server = create_server(GrpcLimits(), "native")
    handlers: dict[str, Any] = {
        "Total": grpc.stream_unary_rpc_method_handler(total, _same, _same),
        "Echo": grpc.stream_stream_rpc_method_handler(echo, _same, _same),
        "Count": grpc.unary_stream_rpc_method_handler(count, _same, _same),
    }
    # Both, as generated code does: older versions of grpcio look for these methods in the first only.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)
    address = f"unix:{tmp_path}/grpc.sock"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as opened:
        channel: Any = opened
        assert await channel.stream_unary(f"/{SERVICE}/Total")(iter([b"abc", b"de"])) == b"5"
        assert [one async for one in channel.unary_stream(f"/{SERVICE}/Count")(b"3")] == [b"0", b"1", b"2"]
        call = channel.stream_stream(f"/{SERVICE}/Echo")(iter([b"abc"]))
        assert await call.read() == b"abc"
        error = await failure(call.read())
        assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "the end")
        assert ("key", "value") in set(error.trailing_metadata())
    await server.stop(0)
    await all_ended()


async def test_an_address_in_use_is_refused() -> None:
    first, second = (create_server(GrpcLimits(), "native") for _ in range(2))
    port = first.add_insecure_port("127.0.0.1:0")
    with pytest.raises(RuntimeError, match=f"127.0.0.1:{port}"):
        second.add_insecure_port(f"127.0.0.1:{port}")
    await first.start()
    await first.stop(0)
