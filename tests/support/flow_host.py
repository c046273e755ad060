"""A host for flows without a runtime: blobs in a dict, nested runs executed in place, components that are functions."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import BlobNotFound, FlowNotFound
from gateway.core.json_layout import at_once
from gateway.core.model import (
    Blob,
    BlobType,
    ItemError,
    ItemResult,
    ItemStatistics,
    JsonText,
    RunState,
    RunStatus,
    blob_id_of,
)
from gateway.flows.execution import execute_flow
from gateway.flows.files import Files, LoadedFile
from gateway.flows.flow import Flow, compile_flow
from gateway.flows.nesting import Nesting
from gateway.flows.task import ItemFailure, Task
from tests.support.item_work import ALONE

Component = Callable[[JsonText, int, Task], Awaitable[JsonText]]


class FlowHost:
    """Executes `components` by name and remembers what was asked for, in order, in `calls` and `runs`."""

    def __init__(self, components: dict[str, Component] | None = None) -> None:
        self.components = components or {}
        self.transport_retries = 3
        self.nesting = Nesting()
        self.blobs: dict[str, Blob] = {}
        self.calls: list[tuple[str, JsonText, int, Task]] = []
        self.runs: list[tuple[str, Sequence[JsonText], int | None, str, str]] = []

    def refuse_deeper(self, task: Task) -> None:
        self.nesting.refuse_deeper(task.loops + 1, task.scope)

    async def execute(self, component: str, text: JsonText, attempt: int, task: Task) -> JsonText:
        self.calls.append((component, text, attempt, task))
        return await self.components[component](text, attempt, task)

    async def compile(self, flow: JsonText, field: str) -> Flow:
        return at_once(compile_flow(flow))

    async def put_blob(self, blob: Blob) -> str:
        if blob.type is BlobType.FLOW:
            at_once(compile_flow(str(blob.content)))
        content = blob.content if isinstance(blob.content, bytes) else blob.content.encode()
        blob_id = blob_id_of(hashlib.sha256(content).hexdigest())
        self.blobs[blob_id] = blob
        return blob_id

    async def get_blob(self, blob_id: str) -> Blob:
        if blob_id not in self.blobs:
            raise BlobNotFound(f"no blob has the id '{blob_id}'")
        return self.blobs[blob_id]

    async def load_file(self, path: str, given_format: str | None) -> LoadedFile:
        return await Files((), MemoryAccount()).load(path, given_format)

    async def run_flow(
        self, flow_id: str, inputs: Sequence[JsonText], max_concurrency: int | None, task: Task, key: str
    ) -> RunStatus:
        self.runs.append((flow_id, inputs, max_concurrency, task.scope, key))
        if flow_id not in self.blobs:
            raise FlowNotFound(f"no flow has the id '{flow_id}'")
        flow = at_once(compile_flow(str(self.blobs[flow_id].content)))
        run_id = str(uuid.uuid4())
        tasks = [Task(run_id, flow_id, index, ALONE) for index in range(len(inputs))]
        executions = [self.item(flow, text, task) for text, task in zip(inputs, tasks, strict=True)]
        results = await asyncio.gather(*executions)
        failed = sum(result.status is RunState.FAILED for result in results)
        return RunStatus(
            run_id=run_id,
            flow_id=flow_id,
            status=RunState.FAILED if failed else RunState.SUCCESS,
            items=ItemStatistics(total=len(results), success=len(results) - failed, failed=failed),
            created_at=0,
            results=results,
        )

    async def item(self, flow, text, task, variables=None) -> ItemResult:
        """Execute one item the way a runtime does."""
        try:
            value = await execute_flow(flow, text, variables or {}, self, task)
        except ItemFailure as failure:
            return ItemResult(item_index=task.item_index, status=RunState.FAILED, error=failure.error)
        return ItemResult(item_index=task.item_index, status=RunState.SUCCESS, value=value)


TASK = Task("run", blob_id_of("0" * 64), 0, ALONE)


def echo(text: JsonText, attempt: int, task: Task) -> Awaitable[JsonText]:
    """A component whose output is its input."""

    async def output() -> JsonText:
        return text

    return output()


def failing(code: int = -32100, message: str = "it failed", data: JsonText | None = None) -> Component:
    """A component that fails."""

    async def output(text: JsonText, attempt: int, task: Task) -> JsonText:
        raise ItemFailure(ItemError(code=code, message=message, data=data))

    return output


def compiled(steps: list[Any] | None = None, output: Any = None, **members: Any):
    """Compile a flow written in Python."""
    return at_once(compile_flow(json.dumps({"steps": steps or [], "output": output, **members})))


async def run(flow, value: Any = None, host: FlowHost | None = None, variables=None) -> Any:
    """Execute a flow for one input written in Python; returns its output, read."""
    texts = {name: json.dumps(value) for name, value in (variables or {}).items()}
    return json.loads(await execute_flow(flow, json.dumps(value), texts, host or FlowHost(), TASK))
