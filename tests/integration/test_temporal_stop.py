"""A gateway on a Temporal server ends in order whatever is away, and its log tells nothing of payloads."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from gateway.client import AsyncRunsClient
from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType, SubmitParams
from tests.support.clients import GrpcClient
from tests.support.command_line import CommandLine, Finished, Serving, finish
from tests.support.component_server import Call, ComponentServer
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FLOW: Final = {
    "steps": [
        {"id": "a", "component": "/t/fail", "input": {"$input": "$"}, "onError": {"action": "useDefault"}},
        {"id": "b", "component": "/t/hold", "input": {"$input": "$"}},
    ],
    "output": [{"$step": "a"}, {"$step": "b"}],
}
SECRET: Final = "canary-of-a-payload"
HANDSHAKE: Final = {
    "initialize": {"serverProtocolVersion": 1},
    "components/list": {"components": [{"component": "/fail"}, {"component": "/hold"}]},
}
"""Both are listed: else the gateway asks for them before it takes the run, and waits for what is held."""
FLAGS: Final = ("--log-level", "debug", "--log-format", "json")

Away = Callable[[TemporalServer, Path], Awaitable[None]]


async def _nothing(server: TemporalServer, blobs: Path) -> None:
    """Nothing is away."""


async def _engine(server: TemporalServer, blobs: Path) -> None:
    await server.kill()


async def _answers(server: TemporalServer, blobs: Path) -> None:
    server.pause()


async def _storage(server: TemporalServer, blobs: Path) -> None:
    await asyncio.to_thread(blobs.rename, blobs.with_name("elsewhere"))


class Components:
    """One that fails, and one that never ends; both tell what they were given."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.server = ComponentServer(self._answer, HANDSHAKE)

    async def _answer(self, call: Call) -> None:
        if call.message["params"]["component"].endswith("fail"):
            await call.error(-32000, f"it was given {SECRET}")
        else:
            self.held.set()
            await call.closed()


@pytest.fixture
async def server(home: Path) -> AsyncIterator[TemporalServer]:
    server = TemporalServer(home)
    await server.start()
    yield server
    await server.kill()


async def ended(serving: Serving) -> Finished:
    serving.process.terminate()
    async with asyncio.timeout(30):
        return await finish(serving.process)


@pytest.mark.parametrize(
    ("away", "mode"), [(_nothing, ()), (_engine, ()), (_answers, ()), (_storage, ()), (_nothing, ("--workers", "2"))]
)
async def test_it_ends_while_items_execute(
    server: TemporalServer, home: Path, away: Away, mode: tuple[str, ...]
) -> None:
    components = Components()
    (blobs := home / "blobs").mkdir()
    async with components.server.running() as url:
        where = ("--runtime", server.runtime(), "--blobs", f"file://{blobs}", "--component", f"/t={url}")
        async with CommandLine(home).serving(*where, *FLAGS, *mode, env={"TMPDIR": str(home)}) as serving:
            async with AsyncRunsClient(serving.grpc) as client:
                await client.submit(await client.put_flow(FLOW), [SECRET], variables={"v": SECRET})
                await components.held.wait()
            await away(server, blobs)
            code, _, log = await ended(serving)
    assert code == 0
    assert SECRET not in log
    messages = [json.loads(line)["message"] for line in log.splitlines()]
    assert not any("not everything has ended" in message or "Traceback" in message for message in messages)
    assert any("SubmitRun: OK" in message for message in messages)


async def test_a_submit_that_the_engine_does_not_answer_is_told_that_the_gateway_stops(
    server: TemporalServer, home: Path
) -> None:
    (blobs := home / "blobs").mkdir()
    where = ("--runtime", server.runtime(), "--blobs", f"file://{blobs}")
    async with CommandLine(home).serving(*where) as serving:
        client = GrpcClient(serving.grpc)
        flow_id = await client.put_blob(Blob('{"steps": [], "output": 1}', BlobType.FLOW))
        await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True))
        server.pause()
        submitting = asyncio.create_task(client.submit(SubmitParams(flow_id=flow_id, inputs=["1"])))
        await asyncio.sleep(0)
        await client.put_blob(Blob('"It has come after the submit, over the same connection."', BlobType.DATA))
        code, _, _ = await ended(serving)
        with pytest.raises(Unavailable, match="shutting down"):
            await submitting
        server.go_on()
        await client.close()
    assert code == 0
