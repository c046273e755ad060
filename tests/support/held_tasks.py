"""Components of an engine that end when the test says so, and not before: the same for all releases.

The engines from 0.12 on hand their tasks to workers that pull them over gRPC; those before call JSON-RPC component
servers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToDict
from grpc import aio

from stepflow.v1 import orchestrator_pb2, orchestrator_pb2_grpc, tasks_pb2, tasks_pb2_grpc
from tests.support.component_server import Call, ComponentServer
from tests.support.engine import Engine, with_plugin

PULLING: Final = ("0.13.0", "0.12.0")
"""The releases with workers that pull."""

COMPONENT: Final = "/held/echo"
"""The component that flows name. Its output is its input, or it fails."""

ARGUMENTS: Final = ("--orchestrator-id", "tests")
"""How these engines are started: one that comes back under its own name goes on with its runs at once. Else 0.10 and
0.11 leave them for half a minute."""

_QUEUE: Final = "held"
_HEARTBEAT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.1


class Task:
    """One execution of the component; `end` sends its result to the engine."""

    def __init__(self, value: Any, end: Callable[[bool], Any]) -> None:
        self.input = value
        self.end = end


class HeldTasks:
    """`open` are the tasks that have not ended, by the engine's name for them; `given` are all inputs, in order."""

    def __init__(self) -> None:
        self.open: dict[str, Task] = {}
        self.given: list[Any] = []
        self._came = asyncio.Condition()

    async def waiting(self, count: int) -> None:
        """Wait until so many tasks are open."""
        async with self._came, asyncio.timeout(60):
            await self._came.wait_for(lambda: len(self.open) >= count)

    async def end(self, *inputs: Any, success: bool = True) -> None:
        """End the open tasks with these inputs; all of them, if none are given."""
        for name, task in list(self.open.items()):
            if not inputs or task.input in inputs:
                del self.open[name]
                await task.end(success)

    async def came(self, name: str, task: Task) -> None:
        """Take a task in. One that comes again, since nobody seemed to work on it, is the same task."""
        async with self._came:
            if name not in self.open:
                self.given.append(task.input)
            self.open[name] = task
            self._came.notify_all()


@asynccontextmanager
async def engine_with_held_tasks(
    release: str, folder: Path, tasks: HeldTasks | None = None
) -> AsyncIterator[tuple[Engine, HeldTasks]]:
    """A running engine whose state survives it, and what it has to do."""
    tasks = tasks or HeldTasks()
    attached = _pulled(release, folder, tasks) if release in PULLING else _called(release, folder, tasks)
    async with attached as engine:
        yield engine, tasks


@asynccontextmanager
async def _pulled(release: str, folder: Path, tasks: HeldTasks) -> AsyncIterator[Engine]:
    plugin = {"type": "grpc", "queueName": _QUEUE, "queueTimeoutSecs": 300}
    engine = Engine(release, folder, with_plugin(release, folder, "/held", plugin))
    await engine.start(*ARGUMENTS)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    options += [(f"grpc.{name}_reconnect_backoff_ms", 100) for name in ("initial", "min", "max")]
    try:
        async with (
            aio.insecure_channel(f"127.0.0.1:{engine.port}", options=options) as channel,
            asyncio.TaskGroup() as own,
        ):
            worker = _Worker(channel, tasks)
            running = [own.create_task(worker.pull()), own.create_task(worker.beat())]
            try:
                yield engine
            finally:
                for task in running:
                    task.cancel()
    finally:
        await engine.stop()


class _Worker:
    def __init__(self, channel: aio.Channel, tasks: HeldTasks) -> None:
        self._source: Any = tasks_pb2_grpc.TasksServiceStub(channel)
        self._orchestrator: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
        self._tasks = tasks

    async def pull(self) -> None:
        request = tasks_pb2.PullTasksRequest(queue_name=_QUEUE, worker_id="tests")
        while True:
            with contextlib.suppress(grpc.RpcError):
                async for assignment in self._source.PullTasks(request):
                    await self._take(assignment)
            await asyncio.sleep(_RETRY_SECONDS)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            for name in list(self._tasks.open):
                beat = orchestrator_pb2.TaskHeartbeatRequest(task_id=name, worker_id="tests")
                with contextlib.suppress(grpc.RpcError):
                    await self._orchestrator.TaskHeartbeat(beat)

    async def _take(self, assignment: tasks_pb2.TaskAssignment) -> None:
        completion = orchestrator_pb2.CompleteTaskRequest(task_id=assignment.task_id)
        if assignment.HasField("list_components"):
            # 0.12 goes by the path, which it has in the first field; 0.13 by the second.
            completion.list_components.components.add(component_id="echo", path="/echo")
            with contextlib.suppress(grpc.RpcError):  # It has stopped waiting for this answer, and asks again.
                await self._orchestrator.CompleteTask(completion)
            return

        async def end(success: bool) -> None:
            if success:
                completion.response.output.CopyFrom(assignment.execute.input)
            else:
                completion.error.code = orchestrator_pb2.TASK_ERROR_CODE_COMPONENT_FAILED
                completion.error.message = "asked to fail"
            await self._orchestrator.CompleteTask(completion)

        await self._tasks.came(assignment.task_id, Task(MessageToDict(assignment.execute.input), end))


@asynccontextmanager
async def _called(release: str, folder: Path, tasks: HeldTasks) -> AsyncIterator[Engine]:
    async def hold(call: Call) -> None:
        params = call.message["params"]
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def end(success: bool) -> None:
            ended.set_result(success)

        await tasks.came(str(call.message["id"]), Task(params["input"], end))
        if await ended:
            await call.result({"output": params["input"]})
        else:
            await call.error(-32100, "asked to fail")

    server = ComponentServer(hold, _HANDSHAKE)
    async with server.running() as url:
        engine = Engine(release, folder, with_plugin(release, folder, "/held", {"type": "stepflow", "url": url}))
        await engine.start(*ARGUMENTS)
        try:
            yield engine
        finally:
            await engine.stop()


_HANDSHAKE: Final[dict[str, Any]] = {
    "initialize": {"serverProtocolVersion": 1},
    "components/list": {"components": [{"component": "/echo"}]},
}
