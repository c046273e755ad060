"""A gateway over each runtime, with a client of each front, for the suites that run on all of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.core.model import Blob, BlobType, RunStatus, SubmitParams
from tests.conformance.differences import Difference
from tests.support.runtimes import gateway_over
from tests.support.updates import Follower, GrpcFollower, JsonRpcFollower

FRONTS = ("grpc", "jsonrpc")


class System:
    """A gateway over a runtime, and a client of each of its fronts."""

    def __init__(self, runtime: str, grpc: GrpcFollower, jsonrpc: JsonRpcFollower) -> None:
        self.runtime = runtime
        self.grpc = grpc
        self.jsonrpc = jsonrpc

    def shows(self, difference: Difference) -> bool:
        """Whether clients see what this row of the table says."""
        return self.runtime in difference.runtimes

    def client(self, front: str) -> Follower:
        return self.grpc if front == "grpc" else self.jsonrpc


@asynccontextmanager
async def system_over(runtime: str, folder: Path, *, held: bool = False) -> AsyncIterator[System]:
    """A gateway over one of the runtimes, until the block is left. `held` is for engines."""
    async with gateway_over(runtime, folder, held=held) as addresses:
        grpc, jsonrpc = GrpcFollower(addresses.grpc), JsonRpcFollower(addresses.http)
        yield System(runtime, grpc, jsonrpc)
        await grpc.close()
        await jsonrpc.close()


async def put_flow(client: Follower, text: str) -> str:
    return await client.put_blob(Blob(text, BlobType.FLOW))


async def submit(client: Follower, flow: str, inputs: list[str], **params: Any) -> RunStatus:
    flow_id = await put_flow(client, flow)
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs, **params))
