"""A gateway on a Temporal server, without fronts."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import Blob, BlobType, GetParams, RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.runs.service import RunsService
from gateway.runtimes.temporal.runtime import TemporalRuntime
from gateway.server.settings import ServeSettings
from gateway.server.temporal_backend import open_temporal

ECHO = {"output": {"$input": "$"}}
"""A flow without steps: its result is its input."""


class TemporalGateway(NamedTuple):
    """A runtime, and the service over it."""

    runtime: TemporalRuntime
    service: RunsService

    async def put(self, flow: Any, namespace: str = DEFAULT_NAMESPACE) -> str:
        """Store a flow that is written in Python."""
        return await self.runtime.put_blob(Blob(json.dumps(flow), BlobType.FLOW), namespace)

    async def submit(
        self,
        flow: Mapping[str, Any],
        inputs: Iterable[Any] = (1,),
        *,
        namespace: str = DEFAULT_NAMESPACE,
        wait: bool = False,
        **params: Any,
    ) -> RunStatus:
        """Store a flow and submit it."""
        texts = [json.dumps(value) for value in inputs]
        owner = None if namespace == DEFAULT_NAMESPACE else Owner(namespace)
        flow_id = await self.put(flow, namespace)
        return await self.service.submit(SubmitParams(flow_id=flow_id, inputs=texts, wait=wait, owner=owner, **params))

    async def wait(self, run_id: str) -> RunStatus:
        """Wait for the end of a run."""
        return await self.service.get(GetParams(run_id=run_id, wait=True))


@asynccontextmanager
async def temporal_gateway(
    runtime: str, folder: Path, *, works: bool = True, account: MemoryAccount | None = None
) -> AsyncIterator[TemporalGateway]:
    """A gateway with its objects in a folder, which several may share. One that does not work executes nothing."""
    settings = ServeSettings(
        runtime=runtime,
        blobs=f"file://{folder}",
        gateway_roles=("front", "worker") if works else ("front",),
        http_address="127.0.0.1:0",
    )
    async with AsyncExitStack() as stack:
        backend = await open_temporal(settings, account or MemoryAccount(1 << 28), stack)
        await backend.start(None)
        backend.resume()
        assert isinstance(backend.runtime, TemporalRuntime)
        yield TemporalGateway(backend.runtime, backend.service)
        await backend.runtime.drain()
