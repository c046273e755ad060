"""An engine's side of a queue on a real port: hands out what a test says, and answers as a test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from grpc import aio

from gateway.adapter.values import text_to_value
from stepflow.v1 import orchestrator_pb2, orchestrator_pb2_grpc, tasks_pb2, tasks_pb2_grpc

RUN_ID: Final = "0190c0de-0000-7000-8000-000000000000"


class ScriptedEngine(tasks_pb2_grpc.TasksServiceServicer, orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """`workers` counts the streams of tasks that are open. `completed` gets every completion that was not refused.

    A status in `beats` or `completions` is what the next heartbeat or completion is answered with, before all others
    succeed. `claimed` is whether heartbeats find that another worker has the task, `cancelled` whether its run is so.
    """

    def __init__(self) -> None:
        self.url = ""
        self.beats: list[grpc.StatusCode] = []
        self.completions: list[grpc.StatusCode] = []
        self.claimed = False
        self.cancelled = False
        self.completed: asyncio.Queue[Any] = asyncio.Queue()
        self.refused = asyncio.Event()
        self.beaten = asyncio.Event()
        self._streams: list[asyncio.Queue[Any]] = []
        self._connected = asyncio.Condition()

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Listen; the URL."""
        server = aio.server(options=[("grpc.so_reuseport", 0)])
        tasks_pb2_grpc.add_TasksServiceServicer_to_server(self, server)
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(self, server)
        self.url = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        await server.start()
        try:
            yield self.url
        finally:
            await server.stop(None)

    async def worker(self) -> None:
        """Wait for a worker."""
        async with self._connected:
            await self._connected.wait_for(lambda: bool(self._streams))

    async def hand_out(self, task_id: str, component: str, payload: str = "{}", **fields: Any) -> None:
        """Hand out a task to the worker that is there."""
        await self.worker()
        execute = tasks_pb2.ComponentExecuteRequest(component_id=component, input=text_to_value(payload), **fields)
        execute.observability.run_id = RUN_ID
        assignment = tasks_pb2.TaskAssignment(task_id=task_id, execute=execute, heartbeat_interval_secs=1)
        assignment.context.orchestrator_service_url = self.url.removeprefix("http://")
        await self._streams[-1].put(assignment)

    async def ask_for_components(self) -> None:
        """Hand out the question for components."""
        await self.worker()
        question = tasks_pb2.TaskAssignment(task_id="discovery", list_components=tasks_pb2.ListComponentsRequest())
        await self._streams[-1].put(question)

    async def cut(self) -> None:
        """End the stream of tasks."""
        await self._streams.pop().put(None)

    async def PullTasks(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        stream: asyncio.Queue[Any] = asyncio.Queue()
        async with self._connected:
            self._streams.append(stream)
            self._connected.notify_all()
        try:
            while (assignment := await stream.get()) is not None:
                yield assignment
        finally:
            if stream in self._streams:
                self._streams.remove(stream)

    async def GetOrchestratorForRun(self, request: Any, context: Any) -> Any:  # noqa: N802
        return tasks_pb2.GetOrchestratorForRunResponse(orchestrator_service_url=self.url.removeprefix("http://"))

    async def TaskHeartbeat(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.beaten.set()
        if self.beats:
            await context.abort(self.beats.pop(0), "as the test says")
        return orchestrator_pb2.TaskHeartbeatResponse(should_abort=self.claimed)

    async def GetRun(self, request: Any, context: Any) -> Any:  # noqa: N802
        status = orchestrator_pb2.OrchestratorRunStatus(run_id=request.run_id)
        if self.cancelled:
            status.status = orchestrator_pb2.EXECUTION_STATUS_CANCELLED
        return status

    async def CompleteTask(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.completions:
            self.refused.set()
            await context.abort(self.completions.pop(0), "as the test says")
        await self.completed.put(request)
        return orchestrator_pb2.CompleteTaskResponse()
