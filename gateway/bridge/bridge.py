"""The worker: it pulls the tasks of a queue and executes them on component servers."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import aclosing, nullcontext
from types import MappingProxyType
from typing import Any, Final

from gateway.bridge.engine import EngineAway, EngineTaskClient, TaskRefused, TaskUnknown
from gateway.bridge.failure import refusal, task_error
from gateway.bridge.payload import input_text, output_value
from gateway.bridge.task import FIRST_PAUSE, LAST_PAUSE, BridgeTask, TaskOutcome
from gateway.bridge.task_limiter import TaskLimiter
from gateway.components import Callback, ComponentError, Components, ComponentServerView, Limits, asks_for_runs
from gateway.components.limits import DEFAULT_LIMITS
from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.memory_account import MemoryShare
from gateway.core.backoff import Backoff
from gateway.core.errors import InvalidParams
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.telemetry import tracing
from gateway.telemetry.execution_spans import attached
from gateway.telemetry.run_contexts import RunContexts
from stepflow.v1 import orchestrator_pb2 as reports
from stepflow.v1 import tasks_pb2 as tasks

MAX_WAITING: Final = 1_024
"""With this many tasks waiting for their execution, no more are pulled: the engine offers them to other workers."""

ANY_COMPONENT: Final = tasks.ComponentInfo(component_id="/{*component}", path="/{*component}")
"""The answer when the engine asks for components: servers need not list theirs, nor be there when the engine asks."""

CANCELLED_RUNS: Final = 10_000
"""How many runs are remembered as cancelled; beyond it, the earliest are forgotten. The engine goes on with such runs,
and hands out their tasks."""

DRAIN_GRACE: Final = 10.0
"""Seconds that a draining bridge gives to tasks that wait for runs of their own, or for an engine that is away. It
cannot wait for ever: perhaps no other worker executes those runs. The engine hands out abandoned tasks again, and the
runs are found again."""

_log = logging.getLogger(__name__)


class Bridge:
    """A worker of the queue `queue` of the engine at `url`, with component servers as `Components` takes them.

    `routes` maps the prefix of a path, as flows write it, to the server of the components below it. If a route of the
    engine removes the prefix ("/double" for "/sdk/double"), there must be only one server. At most `max_tasks` tasks
    execute at the same time; those that have asked for runs do not count. `share`
    and `limits` are those of `Components`. Raises ValueError if a route is malformed.
    """

    def __init__(
        self,
        url: str,
        queue: str,
        routes: Mapping[str, str],
        *,
        environment: Mapping[str, str] = MappingProxyType({}),
        max_tasks: int = 100,
        lossy_numbers: bool = False,
        share: MemoryShare | None = None,
        limits: Limits = DEFAULT_LIMITS,
        credentials: UpstreamCredentials = NO_CREDENTIALS,
    ) -> None:
        self._components = Components(routes, environment=environment, limits=limits, share=share, tls=credentials.tls)
        self._prefixes = tuple("/" + prefix.strip("/") for prefix in routes)
        self._lossy = lossy_numbers
        self._engine = EngineTaskClient(url, queue, f"runs-gateway-{uuid.uuid4()}", credentials)
        self._limiter = TaskLimiter(max_tasks)
        self._tasks: dict[str, BridgeTask] = {}
        self._cancelled: BoundedCache[str, None] = BoundedCache(CANCELLED_RUNS)
        self._executing: set[str] = set()
        self._changed = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._puller: asyncio.Task[None] | None = None
        self.run_contexts = RunContexts()
        """In which contexts runs were submitted: executions are in these, or else in those of the engine."""
        self._name = f"queue {queue!r} of the engine at {url}"

    def on_components_change(self, report: Callable[[str, bool], None]) -> None:
        """Call `report` with a prefix and whether its components are available: for each now, and after each change."""
        self._components.on_change(report)

    async def start(
        self, callback: Callback, blob_api_url: str | None, *, url_for: Callable[[str], str | None] | None = None
    ) -> None:
        """Start the component servers, then pull tasks. Connecting to an engine that is away is tried again.

        `callback` serves the requests of components. Servers are told the URL of the blob API: see `Components.start`.
        """

        async def serve(body: bytes, task_id: str) -> bytes | None:
            if asks_for_runs(body):
                self._release(task_id)
            return await callback(body, task_id)

        await self._components.start(serve, blob_api_url, url_for=url_for)
        self._puller = asyncio.create_task(self._pull())

    def cancel_run(self, run_id: str) -> None:
        """Stop the tasks of a run, which is cancelled; those that the engine hands out yet are not executed."""
        self._cancelled.put(run_id, None)
        for task in self._tasks.values():
            if task.run_id == run_id:
                task.cancel()

    def tasks_of(self, server: str) -> Collection[str]:
        """The tasks that a component server executes at the moment: see `Components.tasks_of`."""
        return self._components.tasks_of(server)

    @property
    def component_servers(self) -> list[ComponentServerView]:
        """The component servers as they are now."""
        return self._components.servers

    def run_of(self, task_id: str) -> str | None:
        """The run of a task that has not ended; None if there is no such task."""
        task = self._tasks.get(task_id)
        return None if task is None else task.run_id

    async def drain(self) -> None:
        """Pull no more tasks, and wait until those that were claimed have been executed and completed."""
        await _cancel(self._puller)
        while self._executing:
            self._changed.clear()
            await self._changed.wait()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=DRAIN_GRACE)

    async def close(self) -> None:
        """Stop. Tasks that still execute are abandoned, and the engine hands them out again."""
        await _cancel(self._puller, *self._jobs)
        await self._components.close()
        await self._engine.close()

    async def _pull(self) -> None:
        """Accept tasks until the bridge stops, also from an engine that has replaced the one before."""
        backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        away = False
        while True:
            try:
                async with aclosing(self._engine.assignments()) as assignments:
                    async for assignment in assignments:
                        if away:
                            _log.warning("%s: it is back", self._name)
                        away = False
                        backoff.reset()
                        self._accept(assignment)
                        while self._limiter.waiting >= MAX_WAITING:
                            self._changed.clear()
                            await self._changed.wait()
            except EngineAway as error:
                if not away:
                    _log.warning("%s cannot be reached: %s", self._name, error)
                away = True
            await asyncio.sleep(backoff.next())

    def _accept(self, assignment: tasks.TaskAssignment) -> None:
        if assignment.HasField("list_components"):
            self._start_job(self._list_components(assignment))
        elif (present := self._tasks.get(assignment.task_id)) is not None:
            present.handed_out_again(assignment)
        elif assignment.HasField("execute"):
            task = self._tasks[assignment.task_id] = BridgeTask(self._engine, assignment, self.cancel_run)
            if task.run_id in self._cancelled:
                task.cancel()
            self._executing.add(task.id)
            self._start_job(self._perform(task))

    def _start_job(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _list_components(self, assignment: tasks.TaskAssignment) -> None:
        answer = reports.CompleteTaskRequest(task_id=assignment.task_id)
        answer.list_components.components.append(ANY_COMPONENT)
        try:
            await self._engine.complete(assignment.context.orchestrator_service_url, answer)
        except (EngineAway, TaskUnknown, TaskRefused) as error:
            # The engine asks again. It may have stopped waiting before a worker was there to answer.
            _log.debug("%s was not told the components: %s", self._name, error)

    async def _perform(self, task: BridgeTask) -> None:
        try:
            await task.perform(self._execute)
        finally:
            self._release(task.id)
            del self._tasks[task.id]

    def _release(self, task_id: str) -> None:
        """Note that a task does not execute any more, or waits for a run."""
        self._limiter.release(task_id)
        self._executing.discard(task_id)
        self._changed.set()

    async def _execute(self, task: BridgeTask) -> TaskOutcome:
        """Wait until the task may execute, and execute its component."""
        try:
            await self._limiter.acquire(task.id)
            self._changed.set()
            return await self._outcome_of(task)
        except ComponentError as error:
            release_frames(error)
            return task_error(error)
        except InvalidParams as error:
            release_frames(error)
            return refusal(reports.TASK_ERROR_CODE_INVALID_INPUT, str(error))
        except Exception as error:
            return refusal(reports.TASK_ERROR_CODE_WORKER_ERROR, str(error_to_tell(error, task.fields)))
        finally:
            self._release(task.id)

    async def _outcome_of(self, task: BridgeTask) -> TaskOutcome:
        text = input_text(task.request.input, lossy=self._lossy)
        context = None if tracing.tracer is None else await self.run_contexts.of(task.run_id)
        with nullcontext() if context is None else attached(context):
            output = await self._components.execute(
                self._full_path(task.path),
                text,
                attempt=task.request.attempt,
                observability=task.observability,
                scope=task.id,
            )
        try:
            return tasks.ComponentExecuteResponse(output=output_value(output, lossy=self._lossy))
        except InvalidParams as error:
            return refusal(reports.TASK_ERROR_CODE_COMPONENT_FAILED, str(error))

    def _full_path(self, path: str) -> str:
        """Return the path with its prefix, which a route of the engine may have removed."""
        known = any(prefix == "/" or path.startswith(f"{prefix}/") for prefix in self._prefixes)
        return path if known or len(self._prefixes) != 1 else f"{self._prefixes[0]}{path}"


async def _cancel(*tasks: asyncio.Task[None] | None) -> None:
    present = [task for task in tasks if task is not None]
    for task in present:
        task.cancel()
    await asyncio.gather(*present, return_exceptions=True)
