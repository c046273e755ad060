"""One task of an engine, from its claim to its completion."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from gateway.bridge.engine import EngineAway, EngineTaskClient, TaskRefused, TaskUnknown
from gateway.bridge.failure import refusal
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.backoff import Backoff
from gateway.core.model import ObservabilityContext
from gateway.telemetry.run_log import of_run
from stepflow.v1 import orchestrator_pb2 as reports
from stepflow.v1 import tasks_pb2 as tasks

FIRST_PAUSE: Final = 0.1
LAST_PAUSE: Final = 2.0
"""The seconds before a call to the engine is repeated for the first time, and the most before later repetitions."""

DEFAULT_HEARTBEAT: Final = 1.0
"""Seconds between heartbeats, unless the engine names another time. The engine gives up after about 10."""

FORGOTTEN_SECONDS: Final = 300.0
"""How long an outcome is offered to an engine that has restarted and does not know the task yet. Within about a minute
the engine recovers its runs, and hands out their tasks under the same ids."""

STALE_SECONDS: Final = 1.0
"""The same for an engine that has not restarted as far as is known: the news of a restart may still be on its way."""

CANCEL_SECONDS: Final = 2.0
"""Seconds between two questions whether the run of a task that executes is cancelled, at least; no oftener than it
beats."""

CLAIM_ATTEMPTS: Final = 5

_log = logging.getLogger(__name__)

TaskOutcome = tasks.ComponentExecuteResponse | reports.TaskError


class BridgeTask:
    """A task that the engine has handed out to this worker. The engine may hand it out again at any time."""

    def __init__(
        self, engine: EngineTaskClient, assignment: tasks.TaskAssignment, on_cancelled: Callable[[str], None]
    ) -> None:
        """`on_cancelled` is called with the run if the engine tells that it is cancelled."""
        self.id = assignment.task_id
        self.request = assignment.execute
        self._engine = engine
        self._on_cancelled = on_cancelled
        self._root_run_id = assignment.context.root_run_id
        self._orchestrator = assignment.context.orchestrator_service_url
        self._interval = float(assignment.heartbeat_interval_secs or DEFAULT_HEARTBEAT)
        self._outages = engine.outages
        self._handed_out_again = asyncio.Event()
        self._execution: asyncio.Future[TaskOutcome] | None = None
        self._run_cancelled = False
        self._unknown_since: float | None = None

    @property
    def run_id(self) -> str:
        """The run that the task belongs to."""
        return self.request.observability.run_id

    @property
    def path(self) -> str:
        """The path of the component, below the route of the engine."""
        parameters = self.request.path_params
        return "/" + (parameters.get("component") or self.request.component_id).lstrip("/")

    @property
    def observability(self) -> ObservabilityContext:
        """The run, the step and the trace that the task belongs to."""
        context = self.request.observability
        return ObservabilityContext(
            trace_id=context.trace_id or None,
            span_id=context.span_id or None,
            run_id=context.run_id or None,
            flow_id=context.flow_id or None,
            step_id=context.step_id or None,
        )

    def fields(self) -> dict[str, str]:
        """What the log is told with lines about the task."""
        context = self.observability
        return of_run(context.run_id, context.trace_id)

    def handed_out_again(self, assignment: tasks.TaskAssignment) -> None:
        """Note that the engine has handed out the task to this worker once more.

        The engine has restarted, or has missed heartbeats. The execution goes on and counts for the new attempt.
        """
        self._orchestrator = assignment.context.orchestrator_service_url
        self._handed_out_again.set()

    async def perform(self, execute: Callable[["BridgeTask"], Awaitable[TaskOutcome]]) -> None:
        """Claim the task, execute it, and tell the engine the outcome. Failures are logged, not raised."""
        if not await self._claim():
            return
        if self._run_cancelled:
            await self._complete(_of_cancelled_run())
            return
        execution = self._execution = asyncio.ensure_future(execute(self))
        execution.add_done_callback(retrieve_exception)
        heartbeats = asyncio.create_task(self._send_heartbeats(execution))
        try:
            await asyncio.wait([execution])
        finally:
            execution.cancel()
            heartbeats.cancel()
            await asyncio.gather(execution, heartbeats, return_exceptions=True)
        if self._run_cancelled:
            # Nobody needs an outcome, but a task without one is handed out again.
            await self._complete(_of_cancelled_run())
        elif not execution.cancelled():
            await self._complete(execution.result())

    def cancel(self) -> None:
        """Stop the execution, since the run of the task is cancelled."""
        self._run_cancelled = True
        if self._execution is not None:
            self._execution.cancel()

    async def _claim(self) -> bool:
        """Claim the task by a first heartbeat. Return False if another worker has it or the engine does not know it."""
        backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        for _ in range(CLAIM_ATTEMPTS):
            try:
                return await self._engine.beat(self._orchestrator, self.id, self.run_id)
            except EngineAway as error:
                _log.debug("task %s cannot be claimed now: %s", self.id, error, extra=self.fields())
            except (TaskUnknown, TaskRefused) as error:
                _log.debug("task %s has ended: %s", self.id, error, extra=self.fields())
                return False
            await asyncio.sleep(backoff.next())
            await self._find_orchestrator()
        return False

    async def _send_heartbeats(self, execution: asyncio.Future[TaskOutcome]) -> None:
        """Keep the task while it executes. The execution is cancelled if another worker has the task.

        So it is if the run is cancelled.
        """
        asked = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self._interval)
            try:
                if not await self._engine.beat(self._orchestrator, self.id, self.run_id):
                    _log.warning("task %s is executed by another worker now", self.id, extra=self.fields())
                    execution.cancel()
                    return
                if asyncio.get_running_loop().time() - asked >= CANCEL_SECONDS:
                    asked = asyncio.get_running_loop().time()
                    if await self._engine.is_cancelled(self._orchestrator, self.run_id):
                        self._on_cancelled(self.run_id)
            except (EngineAway, TaskUnknown, TaskRefused) as error:
                # An engine that has restarted may hand the task out again; meanwhile the execution goes on.
                _log.debug("task %s: no heartbeat: %s", self.id, error, extra=self.fields())
                await self._find_orchestrator()

    async def _complete(self, outcome: TaskOutcome) -> None:
        """Tell the engine the outcome, and try again until the engine takes it or has no use for it."""
        request = reports.CompleteTaskRequest(task_id=self.id, run_id=self.run_id or None)
        _set_outcome(request, outcome)
        backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        while not await self._attempt_completion(request):
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.next()):
                    await self._handed_out_again.wait()
            await self._find_orchestrator()

    async def _attempt_completion(self, request: reports.CompleteTaskRequest) -> bool:
        """Tell the engine the outcome once. Return False if another attempt may succeed."""
        self._handed_out_again.clear()
        try:
            await self._engine.complete(self._orchestrator, request)
        except TaskRefused as error:
            if request.WhichOneof("result") == "error":
                _log.warning("task %s: the engine takes no outcome: %s", self.id, error, extra=self.fields())
                return True
            message = f"the engine does not take the output: {error}"
            _set_outcome(request, refusal(reports.TASK_ERROR_CODE_WORKER_ERROR, message))
            return await self._attempt_completion(request)
        except TaskUnknown as error:
            return self._has_ended(error)
        except EngineAway as error:
            _log.debug("task %s cannot be completed now: %s", self.id, error, extra=self.fields())
            self._unknown_since = None
            return False
        return True

    def _has_ended(self, error: TaskUnknown) -> bool:
        """Return whether the engine has not known the task for so long that the task must have ended."""
        now = asyncio.get_running_loop().time()
        if self._unknown_since is None:
            self._unknown_since = now
        restarted = self._engine.outages != self._outages
        if now <= self._unknown_since + (FORGOTTEN_SECONDS if restarted else STALE_SECONDS):
            return False
        _log.debug("task %s has ended without this outcome: %s", self.id, error, extra=self.fields())
        return True

    async def _find_orchestrator(self) -> None:
        """Ask the engine for the orchestrator of the run, which may have changed."""
        found = await self._engine.orchestrator_of(self._root_run_id or self.run_id)
        if found is not None:
            self._orchestrator = found


def _of_cancelled_run() -> reports.TaskError:
    return refusal(reports.TASK_ERROR_CODE_CANCELLED, "the run is cancelled")


def _set_outcome(request: reports.CompleteTaskRequest, outcome: TaskOutcome) -> None:
    if isinstance(outcome, reports.TaskError):
        request.error.CopyFrom(outcome)
    else:
        request.response.CopyFrom(outcome)
