"""What the items of a run may ask for while they execute: components, blobs and nested runs."""

import uuid

from gateway.components import ComponentError, Components
from gateway.core.model import Blob, ItemError, JsonText, ObservabilityContext, RunStatus, SubmitParams, blob_digest
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.task import ItemFailure, Task


class RunHost:
    """Serves the items of one run. `trace` is the context that the run was submitted in."""

    def __init__(self, components: Components, service: RunsService, trace: ObservabilityContext | None) -> None:
        self._components = components
        self._service = service
        self._trace_id = trace.trace_id if trace and trace.trace_id else uuid.uuid4().hex

    async def execute(self, component: str, payload: JsonText, attempt: int, task: Task) -> JsonText:
        """Execute a step on its component server."""
        try:
            return await self._components.execute(
                component, payload, attempt=attempt, observability=self._observability(task), scope=task.scope
            )
        except ComponentError as error:
            raise ItemFailure(ItemError(code=error.code, message=error.message, data=error.data)) from error

    async def put_blob(self, blob: Blob) -> str:
        """Store a blob."""
        return await self._service.put_blob(blob)

    async def get_blob(self, blob_id: str) -> Blob:
        """Return a blob."""
        return await self._service.get_blob(blob_id)

    async def run_flow(
        self, flow_id: str, inputs: list[JsonText], max_concurrency: int | None, task: Task, key: str
    ) -> RunStatus:
        """Run a flow and wait for it. Once: after a restart, the same key finds the run that was there before."""
        params = SubmitParams(
            flow_id=flow_id,
            inputs=inputs,
            wait=True,
            max_concurrency=max_concurrency,
            observability=self._observability(task),
            idempotency_key=key,
        )
        return await self._service.submit(params, scope=task.scope)

    def _observability(self, task: Task) -> ObservabilityContext:
        """A new span in the run's trace. Components know flow ids by their bare digits."""
        return ObservabilityContext(
            trace_id=self._trace_id,
            span_id=uuid.uuid4().hex[:16],
            run_id=task.run_id,
            flow_id=blob_digest(task.flow_id),
            step_id=task.step_id,
        )
