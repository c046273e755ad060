"""The methods of gRPC on an HTTP front, over a runtime that a test controls."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from gateway.access.access import Access, OpenAccess
from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.fronts.web.frames import frame
from gateway.fronts.web.web_lane import web_lane
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

RUNS = "runs.v1.RunsService"
BLOBS = "runs.v1.BlobsService"
JSON = {"Content-Type": "application/json"}
STREAM = {"Content-Type": "application/connect+json"}


class WebAnswer(NamedTuple):
    """A response."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def frames(self) -> list[tuple[int, bytes]]:
        """The frames of a stream, of gRPC-Web as text as well."""
        body = self.body
        if "text" in self.headers["Content-Type"]:
            body = b"".join(base64.b64decode(piece) for piece in _pieces(body))
        found = []
        while body:
            size = int.from_bytes(body[1:5], "big")
            assert len(body) >= 5 + size
            found.append((body[0], body[5 : 5 + size]))
            body = body[5 + size :]
        return found

    def messages(self) -> list[Any]:
        """The messages of a stream of Connect in JSON, and of its end the last one."""
        return [json.loads(content) for _, content in self.frames()]


def _pieces(text: bytes) -> list[bytes]:
    """Base64 that may be padded within, in pieces that are padded at the end alone."""
    pieces, start = [], 0
    while start < len(text):
        end = start + 4
        while end < len(text) and not text[start:end].endswith(b"="):
            end += 4
        pieces.append(text[start:end])
        start = end
    return pieces


def framed(*messages: object) -> bytes:
    """Messages in JSON, as a stream has them."""
    return b"".join(frame(json.dumps(message).encode()) for message in messages)


class WebServer(NamedTuple):
    """Both fronts, and a client of HTTP."""

    front: HttpFront
    grpc: GrpcFront
    runtime: ScriptedRuntime
    account: MemoryAccount
    session: aiohttp.ClientSession

    def url(self, path: str) -> str:
        return f"http://{self.front.address}/{path}"

    async def post(self, path: str, body: bytes, **headers: str) -> WebAnswer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url(path), data=body, headers=named) as response:
            return WebAnswer(response.status, response.headers, await response.read())

    async def get(self, path: str, **query: str) -> WebAnswer:
        async with self.session.get(self.url(path), params=query) as response:
            return WebAnswer(response.status, response.headers, await response.read())

    async def call(self, path: str, message: object, **headers: str) -> WebAnswer:
        """A call of Connect in JSON."""
        return await self.post(path, json.dumps(message).encode(), **{**JSON, **headers})

    async def stream(self, path: str, *messages: object, **headers: str) -> WebAnswer:
        """A stream of Connect in JSON."""
        return await self.post(path, framed(*messages), **{**STREAM, **headers})

    async def put_flow(self) -> str:
        put = await self.call(f"{BLOBS}/PutBlob", {"json": str(FLOW.content), "type": "BLOB_TYPE_FLOW"})
        flow_id: str = put.json()["blobId"]
        return flow_id

    async def submit(self, *inputs: str, **members: object) -> Any:
        """Submit a run of the flow, and return its status."""
        request = {"flowId": await self.put_flow(), "inputs": [{"json": text} for text in inputs or ("1", "2")]}
        return (await self.call(f"{RUNS}/SubmitRun", {**request, **members})).json()["run"]


@asynccontextmanager
async def web_server(
    limits: HttpLimits | None = None,
    access: Access | None = None,
    grpc_limits: GrpcLimits | None = None,
    account: MemoryAccount | None = None,
) -> AsyncIterator[WebServer]:
    """Serve until the block is left."""
    runtime, account = ScriptedRuntime(), account or MemoryAccount()
    service = RunsService(runtime, grace=0, account=account)
    services = RunsServices(service)
    limits, access = limits or HttpLimits(), access or OpenAccess()
    grpc = GrpcFront(services, "127.0.0.1:0", access=access, account=account, limits=grpc_limits)
    front = HttpFront(
        JsonRpcMethods(services, access=access),
        "127.0.0.1:0",
        access=access,
        account=account,
        limits=limits,
        lane=web_lane(grpc, access, limits),
    )
    await front.start()
    await grpc.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield WebServer(front, grpc, runtime, account, session)
    finally:
        await grpc.stop(0)
        await front.stop(0)
        await service.close()
