"""The connection to a Stepflow engine that hands out tasks and is told their outcomes.

A task belongs to the orchestrator that executes its run. That may be another one than the one that hands out tasks, and
it may change.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from grpc import aio

from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.peers.grpc.channel import channel_options
from gateway.peers.grpc.client_tls import open_channel
from stepflow.v1 import orchestrator_pb2 as reports
from stepflow.v1 import orchestrator_pb2_grpc, tasks_pb2_grpc
from stepflow.v1 import tasks_pb2 as tasks

CALL_SECONDS: Final = 10.0
"""How long a call may take, including the search for the engine, before it is repeated."""

MAX_ORCHESTRATORS: Final = 64
"""To how many orchestrators connections are kept."""

_OPTIONS: Final = channel_options(min_reconnect_ms=1_000, keepalive_ms=20_000)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"})

_log = logging.getLogger(__name__)


class EngineAway(Exception):
    """The engine or the orchestrator of a run cannot be reached now; another attempt may succeed."""


class TaskUnknown(Exception):
    """The orchestrator does not know the task, which has ended or was forgotten by a restart."""


class TaskRefused(Exception):
    """The engine refuses a request, and would refuse it again; the message says why."""


class EngineTaskClient:
    """The engine at `http://HOST:PORT` or `https://HOST:PORT`, whose tasks `worker_id` pulls from the queue `queue`.

    `outages` counts how often the stream of tasks has ended. After that, an engine may recover tasks that it does not
    know at first.
    """

    def __init__(self, url: str, queue: str, worker_id: str, credentials: UpstreamCredentials = NO_CREDENTIALS) -> None:
        parts = urlsplit(url)
        self._address = parts.netloc
        self._tls = credentials.tls if parts.scheme == "https" else None
        self._token = credentials.token
        self.outages = 0
        self._queue = queue
        self._worker_id = worker_id
        self._channels: dict[str, aio.Channel] = {}
        # The stream of tasks has a connection of its own, so that tasks do not wait behind other answers.
        self._source = self._connect(self._address)
        self._tasks: tasks_pb2_grpc.TasksServiceAsyncStub = tasks_pb2_grpc.TasksServiceStub(self._source)

    async def assignments(self) -> AsyncGenerator[tasks.TaskAssignment, None]:
        """Yield the tasks of the queue as they come. Close it explicitly. Raises EngineAway when the stream ends."""
        stream = self._tasks.PullTasks(tasks.PullTasksRequest(queue_name=self._queue, worker_id=self._worker_id))
        leaving = asyncio.create_task(self._until_leaving())
        reading: asyncio.Future[Any] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(stream.read())
                await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    raise EngineAway("the engine is shutting down")
                if (assignment := reading.result()) is aio.EOF:
                    raise EngineAway("the engine has ended the stream of tasks")
                yield assignment
        except aio.AioRpcError as error:
            raise EngineAway(_reason(error)) from None
        finally:
            self.outages += 1
            present = [task for task in (leaving, reading) if task is not None]
            for task in present:
                task.cancel()
            await asyncio.gather(*present, return_exceptions=True)
            stream.cancel()

    async def _until_leaving(self) -> None:
        """Wait until the connection takes no more calls. An engine that shuts down waits for open ones to end."""
        state = self._source.get_state()
        while state is not grpc.ChannelConnectivity.READY:
            await self._source.wait_for_state_change(state)
            state = self._source.get_state()
        await self._source.wait_for_state_change(state)

    async def orchestrator_of(self, run_id: str) -> str | None:
        """Return the address of the orchestrator of a run; None if the engine does not know it."""
        request = tasks.GetOrchestratorForRunRequest(run_id=run_id)
        try:
            found = await self._tasks.GetOrchestratorForRun(request, timeout=CALL_SECONDS)
        except aio.AioRpcError:
            return None
        return found.orchestrator_service_url or None

    async def beat(self, orchestrator: str, task_id: str, run_id: str) -> bool:
        """Tell the engine that this worker has a task. Return False if another worker has it.

        Raises EngineAway, TaskUnknown or TaskRefused if the engine does not take the heartbeat.
        """
        beat = reports.TaskHeartbeatRequest(task_id=task_id, worker_id=self._worker_id, run_id=run_id or None)
        try:
            answer = await self._orchestrator(orchestrator).TaskHeartbeat(
                beat, timeout=CALL_SECONDS, wait_for_ready=True
            )
        except aio.AioRpcError as error:
            raise _failure(error) from None
        return not answer.should_abort

    async def is_cancelled(self, orchestrator: str, run_id: str) -> bool:
        """Whether a run is cancelled, as far as the engine tells. A heartbeat does not."""
        stub = self._orchestrator(orchestrator)
        try:
            run = await stub.GetRun(reports.GetRunRequest(run_id=run_id), timeout=CALL_SECONDS)
        except aio.AioRpcError:
            return False
        return run.status == reports.EXECUTION_STATUS_CANCELLED

    async def complete(self, orchestrator: str, request: reports.CompleteTaskRequest) -> None:
        """End a task. Raises EngineAway, TaskUnknown or TaskRefused if the engine does not take its outcome."""
        try:
            await self._orchestrator(orchestrator).CompleteTask(request, timeout=CALL_SECONDS, wait_for_ready=True)
        except aio.AioRpcError as error:
            raise _failure(error) from None

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(self._source.close(), *(channel.close() for channel in self._channels.values()))

    def _orchestrator(self, address: str) -> "orchestrator_pb2_grpc.OrchestratorServiceAsyncStub":
        address = self._reachable(address)
        channel = self._channels.get(address)
        if channel is None:
            if len(self._channels) >= MAX_ORCHESTRATORS:
                raise EngineAway("too many orchestrators")
            channel = self._channels[address] = self._connect(address)
        return orchestrator_pb2_grpc.OrchestratorServiceStub(channel)

    def _reachable(self, address: str) -> str:
        """Return the address to connect to. A loopback address means the machine of the engine, not this one."""
        host = address.rpartition(":")[0]
        return self._address if not address or host in _LOOPBACK else address

    def _connect(self, address: str) -> aio.Channel:
        return open_channel(address, _OPTIONS, tls=self._tls, token=self._token)


_REFUSED: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


def _failure(error: aio.AioRpcError) -> Exception:
    """Return the exception for a failed call about a task."""
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return TaskUnknown(_reason(error))
    if error.code() in _REFUSED:
        return TaskRefused(_reason(error))
    return EngineAway(_reason(error))


def _reason(error: aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"
