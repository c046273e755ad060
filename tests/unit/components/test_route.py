"""Reaching servers at URLs: the handshake, and finding them again. Commands are in test_command."""

import asyncio

import pytest

from gateway.components import ComponentError, Components, route
from gateway.core.model import ObservabilityContext
from tests.support.component_server import Call, ComponentServer

CONTEXT = ObservabilityContext()
HANDSHAKE = ["initialize", "initialized", "components/list"]


async def refuse(request: bytes, scope: str) -> bytes | None:
    raise AssertionError("no component was to ask for anything")


async def answer(call: Call) -> None:
    await call.result({"output": 1})


def components(url: str) -> Components:
    return Components({"/t": url})


async def execute(registry: Components) -> str:
    return await registry.execute("/t/double", "{}", attempt=1, observability=CONTEXT, scope="t")


@pytest.mark.parametrize("blob_api_url", [None, "http://127.0.0.1:1/api/v1/blobs"])
async def test_the_handshake_serves_all_sdks(blob_api_url: str | None) -> None:
    server = ComponentServer(answer)
    async with server.running() as url:
        registry = components(url)
        await registry.start(refuse, blob_api_url)
        await registry.ready()
        await registry.close()
    assert server.methods() == HANDSHAKE
    assert server.calls[0].message["params"] == {
        "runtimeProtocolVersion": 1,
        "runtime_protocol_version": 1,
        "capabilities": {} if blob_api_url is None else {"blobApiUrl": blob_api_url},
    }
    assert server.calls[1].message == {"jsonrpc": "2.0", "method": "initialized", "params": {}}


async def test_a_server_that_comes_up_later_is_introduced_once(unused_tcp_port: int) -> None:
    server = ComponentServer(answer)
    registry = components(f"http://127.0.0.1:{unused_tcp_port}")
    await registry.start(refuse, None)
    await registry.ready()
    with pytest.raises(ComponentError):
        await execute(registry)
    async with server.running(unused_tcp_port):
        assert await asyncio.gather(*(execute(registry) for _ in range(10))) == ["1"] * 10
        await registry.close()
    assert server.methods() == [*HANDSHAKE, *["components/execute"] * 10]


async def test_executions_share_a_failing_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "FIRST_PAUSE", route.LONGEST_LOOK)  # Nobody else looks for the server meanwhile.
    waiting = asyncio.Barrier(2)

    class Unwilling(ComponentServer):
        async def _serve(self, call: Call) -> None:
            self.calls.append(call)
            if len(self.calls) > 1:
                await waiting.wait()
            await call.respond(b"", status="503 Service Unavailable")

    server = Unwilling(answer)
    async with server.running() as url:
        registry = components(url)
        await registry.start(refuse, None)
        await registry.ready()
        executions = [asyncio.create_task(execute(registry)) for _ in range(5)]
        await waiting.wait()
        errors = await asyncio.gather(*executions, return_exceptions=True)
        await registry.close()
    assert [str(error) for error in errors] == ["the component server answered with HTTP status 503"] * 5
    assert len(server.calls) == 2


async def test_a_lost_server_is_introduced_again() -> None:
    lost = False

    async def lose_one(call: Call) -> None:
        nonlocal lost
        if lost:
            await call.result({"output": 1})
        else:
            lost = True
            call.abort()

    server = ComponentServer(lose_one)
    async with server.running() as url:
        registry = components(url)
        await registry.start(refuse, None)
        await registry.ready()
        with pytest.raises(ComponentError):
            await execute(registry)
        assert await execute(registry) == "1"
        await registry.close()
    assert server.methods() == [*HANDSHAKE, "components/execute"] * 2


async def test_another_process_at_the_same_place_is_introduced() -> None:
    instance = "i-1"

    async def stream(call: Call) -> None:
        await call.stream(instance)
        await call.output(1)

    server = ComponentServer(stream)
    async with server.running() as url:
        registry = components(url)
        await registry.start(refuse, None)
        await registry.ready()
        await execute(registry)
        await execute(registry)
        instance = "i-2"
        await execute(registry)
        await execute(registry)
        await registry.close()
    assert server.methods().count("initialize") == 2
    assert server.methods()[-4:] == [*HANDSHAKE, "components/execute"]
