"""Serves the items of a run while they execute: components, blobs and nested runs."""

import secrets
import uuid
from collections.abc import Sequence
from typing import Protocol

from gateway.adapter.params_json import observability_from_json
from gateway.components import ComponentError, Components
from gateway.core.caller import Caller
from gateway.core.errors import ComponentUnavailable
from gateway.core.internal_errors import release_frames
from gateway.core.model import Blob, ItemError, JsonText, ObservabilityContext, RunStatus, SubmitParams, blob_digest
from gateway.core.owner import Permission
from gateway.flows.files import Files, LoadedFile
from gateway.flows.flow import Flow
from gateway.flows.flow_cache import FlowCache
from gateway.flows.nesting import Nesting
from gateway.flows.run_owners import owner_from_json
from gateway.flows.run_record import RunRecord
from gateway.flows.step_retries import NOT_AVAILABLE, transport_backoff
from gateway.flows.task import ItemFailure, Task
from gateway.telemetry import tracing


class RunsApi(Protocol):
    """The part of the runs service that flows use. Blob and flow ids may come in either spelling."""

    async def put_blob(self, blob: Blob, *, namespace: str) -> str:
        """Store a blob in a namespace and return its canonical id."""

    async def get_blob(self, blob_id: str, *, namespace: str) -> Blob:
        """Return a blob of a namespace."""

    async def submit(self, params: SubmitParams, *, scope: str) -> RunStatus:
        """Submit a run on behalf of the task `scope`; with `wait`, return its final status with all results."""


class RunHost:
    """Serves the items of one run. What they ask for is asked for by the owner of the run, in its namespace."""

    def __init__(
        self,
        components: Components,
        runs: RunsApi,
        nesting: Nesting,
        flows: FlowCache,
        files: Files,
        *,
        record: RunRecord,
    ) -> None:
        self.transport_retries = components.limits.transport_retries
        self._components = components
        self._runs = runs
        self._nesting = nesting
        self._flows = flows
        self._files = files
        self._depth = record.depth
        self._owner = None if record.owner is None else owner_from_json(record.owner)
        self._namespace = record.namespace
        self._told = record.observability
        self._trace_id: str | None = None

    def refuse_deeper(self, task: Task) -> None:
        """Raise NestedTooDeeply if a task may not start a run, or run a flow in place."""
        self._nesting.refuse_deeper(self._depth + task.loops + 1, task.scope)

    async def execute(self, component: str, payload: JsonText, attempt: int, task: Task) -> JsonText:
        """Execute a step on its component server."""
        scope = task.scope
        if (settling := self._components.settling(component)) is not None:
            await task.work.set_aside(settling)
        try:
            async with task.work.call(scope):
                return await self._components.execute(
                    component, payload, attempt=attempt, observability=self._observability(task), scope=scope
                )
        except ComponentError as error:
            failed = ItemError(code=error.code, message=error.message, data=error.data)
            raise ItemFailure(failed, transport=error.may_pass) from error

    async def compile(self, flow: JsonText, field: str) -> Flow:
        """Compile a flow. Items usually have the same one, so it is kept for the next."""
        return await self._flows.compile(flow, flow, field)

    async def put_blob(self, blob: Blob) -> str:
        """Store a blob."""
        self._require(Permission.WRITE_BLOBS)
        return await self._runs.put_blob(blob, namespace=self._namespace)

    async def get_blob(self, blob_id: str) -> Blob:
        """Return a blob."""
        self._require(Permission.READ_BLOBS)
        return await self._runs.get_blob(blob_id, namespace=self._namespace)

    async def load_file(self, path: str, given_format: str | None) -> LoadedFile:
        """Load a file that flows may load."""
        return await self._files.load(path, given_format)

    async def run_flow(
        self, flow_id: str, inputs: Sequence[JsonText], max_concurrency: int | None, task: Task, key: str
    ) -> RunStatus:
        """Run a flow and wait for it. After a restart, the same key finds the run that was submitted before."""
        self._require(Permission.SUBMIT)
        params = SubmitParams(
            flow_id=flow_id,
            inputs=inputs,
            wait=True,
            max_concurrency=max_concurrency,
            observability=self._observability(task),
            idempotency_key=key,
            labels=dict(self._owner.labels) if self._owner is not None else {},
            owner=self._owner,
        )
        backoff = transport_backoff()
        retries = self.transport_retries
        while True:
            try:
                return await self._runs.submit(params, scope=task.scope)
            except ComponentUnavailable as error:
                release_frames(error)
                if not retries:
                    # Not as Unavailable, after which the item would begin anew.
                    raise ItemFailure(ItemError(code=NOT_AVAILABLE, message=error.message)) from None
            retries -= 1
            await task.work.pause(backoff.next())

    def _require(self, permission: Permission) -> None:
        """Raise PermissionDenied if the owner of the run lacks a permission."""
        if self._owner is not None:
            Caller.of_component(self._owner).require(permission)

    def _observability(self, task: Task) -> ObservabilityContext:
        """The current span, or a new one in the trace of the run. Components expect flow ids without `sha256:`."""
        ids = None if tracing.tracer is None else tracing.ids()
        trace_id, span_id = ids or (self._trace_id or self._own_trace(), secrets.token_hex(8))
        return ObservabilityContext(
            trace_id=trace_id,
            span_id=span_id,
            run_id=task.run_id,
            flow_id=blob_digest(task.flow_id),
            step_id=task.step_id,
        )

    def _own_trace(self) -> str:
        """The trace that whoever submitted the run has named, or else one of the run."""
        told = None if self._told is None else observability_from_json(self._told).trace_id
        self._trace_id = told or uuid.uuid4().hex
        return self._trace_id
