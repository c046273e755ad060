"""The embedded runtime with everything behind it, without fronts."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway.components import Components
from gateway.core.model import Blob, BlobType, GetParams, RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.flows.nesting import Nesting
from gateway.flows.run_record import RunRecord
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.storage.idempotency import IN_MEMORY


class Embedded(NamedTuple):
    """A runtime that has been opened, and the services over it."""

    runtime: EmbeddedRuntime
    service: RunsService
    journal: Journal

    async def start(self) -> None:
        """Execute runs, also those from before."""
        await self.runtime.start(self.service)
        self.runtime.resume()

    async def submit(self, flow: Any, *inputs: Any, wait: bool = True, **params: Any) -> RunStatus:
        """Store a flow and submit it."""
        texts = [json.dumps(value) for value in inputs]
        return await self.service.submit(SubmitParams(flow_id=await self.put(flow), inputs=texts, wait=wait, **params))

    async def submit_in(self, namespace: str, flow: Any, *inputs: Any) -> RunStatus:
        """Store a flow in a namespace, submit it there, and wait."""
        texts = [json.dumps(value) for value in inputs]
        flow_id = await self.put(flow, namespace)
        owner = None if namespace == DEFAULT_NAMESPACE else Owner(namespace)
        return await self.service.submit(SubmitParams(flow_id=flow_id, inputs=texts, wait=True, owner=owner))

    async def put(self, flow: Any, namespace: str = DEFAULT_NAMESPACE) -> str:
        """Store a flow that is written in Python."""
        return await self.runtime.put_blob(Blob(json.dumps(flow), BlobType.FLOW), namespace)

    async def wait(self, run_id: str) -> RunStatus:
        """Wait for the end of a run; its status with results."""
        return await self.service.get(GetParams(run_id=run_id, wait=True, include_results=True))


class Accepted:
    """Notes the runs that a journal has accepted, in order."""

    def __init__(self, embedded: Embedded) -> None:
        self.records: list[RunRecord] = []
        create = embedded.journal.create

        async def noted(record: RunRecord, *arguments: Any) -> RunRecord | None:
            earlier = await create(record, *arguments)
            if earlier is None:
                self.records.append(record)
            return earlier

        embedded.journal.create = noted  # type: ignore[method-assign, assignment]


@asynccontextmanager
async def opened(
    state: Path | None = None, nesting: Nesting | None = None, components: Mapping[str, str] | None = None
) -> AsyncIterator[Embedded]:
    """A runtime with its state in a file, or in memory; the caller starts it."""
    servers = Components(components or {})
    runtime = await EmbeddedRuntime.open(IN_MEMORY if state is None else str(state), servers, nesting=nesting)
    service = RunsService(runtime, grace=0)
    methods = JsonRpcMethods(RunsServices(service))
    try:
        await servers.start(methods.call, None)
        yield Embedded(runtime, service, runtime._journal)
    finally:
        await runtime.drain()
        await service.close()
        await runtime.close()
        await servers.close()
