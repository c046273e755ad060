"""A gateway whose calls fail, with the collector off: nothing of a failed call may stay in memory until it runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp

from gateway.components import Components
from gateway.core.model import SubmitParams
from gateway.core.runtime import Runtime
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.fronts.grpc.server import Transport
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from tests.support.component_server import Call, ComponentServer, Script
from tests.support.garbage import PAYLOAD, left_behind, uncollected
from tests.support.grpc_calls import Client
from tests.support.scripted_runtime import FLOW, ScriptedRuntime
from tests.support.tasks import all_ended

LARGE = "x" * PAYLOAD
TEXT = json.dumps(LARGE)
JSON = {"Content-Type": "application/json"}
STREAM = {**JSON, "Accept": "text/event-stream"}
BODY_LIMIT = 8 * PAYLOAD


class Gateway:
    """Both fronts over one runtime, and clients of them."""

    def __init__(self, runtime: Runtime, transport: Transport) -> None:
        self.runtime = runtime
        self.peer: object = None
        """What the runtime talks to, kept as long as the gateway: it remembers what it was sent."""
        self.kept: list[object] = []
        self.service = RunsService(runtime, grace=0)
        self.methods = JsonRpcMethods(RunsServices(self.service))
        self.http = HttpFront(self.methods, "127.0.0.1:0", limits=HttpLimits(body=BODY_LIMIT))
        limits = GrpcLimits(receive=BODY_LIMIT, upload=2 * PAYLOAD)
        self.grpc = GrpcFront(RunsServices(self.service), "127.0.0.1:0", limits=limits, transport=transport)

    @property
    def scripted(self) -> ScriptedRuntime:
        assert isinstance(self.runtime, ScriptedRuntime)
        return self.runtime

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve until the block ends."""
        await self.http.start()
        await self.grpc.start()
        async with aiohttp.ClientSession() as self.session:
            self.client = Client(self.grpc.address)
            try:
                yield
            finally:
                await self.client.close()
                await self.http.stop(0)
                await self.grpc.stop(0)
                await self.service.close()

    async def post(self, body: object, path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://{self.http.address}{path}"
        async with self.session.post(url, data=data, headers=JSON if headers is None else headers) as response:
            return response.status, await response.read()

    async def raw(self, text: str) -> asyncio.StreamWriter:
        """A connection over which a text was sent."""
        host, _, port = self.http.address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(text.encode())
        await writer.drain()
        return writer

    async def submitted(self) -> str:
        """The id of a run with one item that does not end."""
        flow_id = await self.service.put_blob(FLOW)
        return (await self.service.submit(SubmitParams(flow_id=flow_id, inputs=["1"]))).run_id


Case = Callable[[Gateway], Awaitable[None]]
Start = Callable[[Transport], AbstractAsyncContextManager[Gateway]]


@asynccontextmanager
async def scripted(transport: Transport) -> AsyncIterator[Gateway]:
    """Over a runtime that a test controls."""
    gateway = Gateway(ScriptedRuntime(), transport)
    async with gateway.serving():
        yield gateway


def embedded(script: Script | None = None, state: str = ":memory:") -> Start:
    """Over the embedded runtime; `script` is that of its component server."""

    @asynccontextmanager
    async def start(transport: Transport) -> AsyncIterator[Gateway]:
        server = ComponentServer(script or _refuse)
        async with server.running() as url:
            components = Components({"/t": url})
            runtime = await EmbeddedRuntime.open(state, components)
            gateway = Gateway(runtime, transport)
            gateway.peer = server
            await components.start(gateway.methods.call, None)
            await runtime.start(gateway.service)
            async with gateway.serving():
                yield gateway
            await runtime.close()
            await components.close()

    return start


async def leaves_nothing(case: Case, start: Start, transport: Transport = "grpcio") -> None:
    """Let a case happen, and assert that nothing of it is left when the gateway has stopped."""
    with uncollected():
        async with start(transport) as gateway:
            await case(gateway)
        await all_ended()
        found = left_behind()
        assert not found, sorted(found)
        del gateway  # It lived until here: its own cycles do not count.


async def _refuse(call: Call) -> None:
    await call.error(-32100, LARGE)
