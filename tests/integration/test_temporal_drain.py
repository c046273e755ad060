"""A gateway that stops hands its part of the work on Temporal to the others, and one that cannot work tries again."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from gateway.runtimes.temporal.engine import STEP_TIMEOUT
from gateway.runtimes.temporal.workflow import HEARTBEAT_TIMEOUT
from gateway.server.app import running
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from gateway.testing.component_server import component_server
from gateway.testing.functions import Functions
from tests.support.clients import GrpcClient
from tests.support.free_port import free_port
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FLOW = Blob(
    '{"steps": [{"id": "s", "component": "/t/note", "input": {"$input": "$"}}], "output": {"$step": "s"}}',
    BlobType.FLOW,
)


class Work:
    """What the items of a test do: they note that they begin and end, and take a moment in between."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self.times: list[float] = []
        self.many = asyncio.Event()
        self.cut: Counter[int] = Counter()
        self.has_begun = asyncio.Event()
        self.held: asyncio.Event | None = None

    async def note(self, value: int) -> int:
        self.begun[value] += 1
        self.has_begun.set()
        try:
            await asyncio.sleep(0.005)
            if self.held is not None:
                await self.held.wait()
        except asyncio.CancelledError:
            self.cut[value] += 1
            raise
        self.ended[value] += 1
        self.times.append(time.monotonic())
        if len(self.ended) == 200:
            self.many.set()
        return value


class Scene:
    """Gateways over one server, each with a stack that stops it, and a component server that they share."""

    def __init__(self, stack: AsyncExitStack, server: TemporalServer, folder: Path) -> None:
        self._stack = stack
        self._runtime = server.runtime(f"test-{uuid.uuid4()}")
        self._objects = folder / "objects"
        self._objects.mkdir()
        self.work = Work()
        self._url = ""

    async def start(self, *roles: str) -> tuple[AsyncExitStack, Addresses]:
        """Start a gateway."""
        if not self._url:
            functions = Functions({"/t/note": self.work.note})
            self._url = await self._stack.enter_async_context(component_server(functions))
        addresses: dict[str, Any] = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
        settings = ServeSettings(
            runtime=self._runtime,
            blobs=f"file://{self._objects}",
            components={"/": self._url},
            metrics_address="off",
            gateway_roles=roles or ("front", "worker"),
            **addresses,
        )
        stack = await self._stack.enter_async_context(AsyncExitStack())
        return stack, await stack.enter_async_context(running(settings))


@pytest.fixture
async def scene(temporal_server: TemporalServer, tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        yield Scene(stack, temporal_server, tmp_path)


async def test_a_gateway_that_stops_gives_its_items_back_and_none_executes_twice(scene: Scene) -> None:
    first, _ = await scene.start("worker")
    _, second = await scene.start()
    client = GrpcClient(second.grpc)
    flow_id = await client.put_blob(FLOW)
    inputs = [str(number) for number in range(1_000)]
    params = SubmitParams(flow_id=flow_id, inputs=inputs, wait=True, max_concurrency=8)
    run = asyncio.create_task(client.submit(params))
    await scene.work.many.wait()
    await first.aclose()
    status = await run
    await client.close()
    work = scene.work
    assert status.status is RunState.SUCCESS
    assert work.begun == work.ended == Counter(range(1_000))
    # The engine may hand a step, or a chunk, to the gateway at the moment when that stops to ask. The SDK drops such a
    # one, and it goes to the other after its time-out: no more than one after the other of these.
    longest = STEP_TIMEOUT + HEARTBEAT_TIMEOUT
    assert max(later - earlier for earlier, later in pairwise(work.times)) < longest.total_seconds()


async def test_an_item_that_does_not_end_is_cut_and_executed_by_another_gateway(scene: Scene) -> None:
    first, _ = await scene.start("worker")
    front, address = await scene.start("front")
    client = GrpcClient(address.grpc)
    front.push_async_callback(client.close)
    scene.work.held = asyncio.Event()
    run = asyncio.create_task(client.submit(SubmitParams(flow_id=await client.put_blob(FLOW), inputs=["7"], wait=True)))
    await scene.work.has_begun.wait()
    await first.aclose()
    assert scene.work.cut == Counter([7])
    scene.work.held.set()
    await scene.start("worker")
    assert (await run).status is RunState.SUCCESS
    assert scene.work.begun == Counter([7, 7])
    assert scene.work.ended == Counter([7])


async def test_a_gateway_that_is_there_before_its_engine_executes_when_that_comes(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = TemporalServer(tmp_path)
        server.port = free_port()
        scene = Scene(stack, server, tmp_path)
        _, gateway = await scene.start()
        stack.push_async_callback(server.kill)
        await server.start()
        client = GrpcClient(gateway.grpc)
        stack.push_async_callback(client.close)
        flow_id = await client.put_blob(FLOW)
        status = await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True))
        assert status.status is RunState.SUCCESS
