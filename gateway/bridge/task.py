"""One task of an engine, from its claim to its completion."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from gateway.bridge.engine import EngineAway, EngineTaskClient, TaskRefused, TaskUnknown
from gateway.bridge.failure import refusal
from gateway.core.backoff import Backoff
from gateway.core.model import ObservabilityContext
from stepflow.v1 import orchestrator_pb2 as reports
from stepflow.v1 import tasks_pb2 as tasks

FIRST_PAUSE: Final = 0.1
LAST_PAUSE: Final = 2.0
"""Seconds before the second attempt to tell the engine something, and the most before later ones."""

DEFAULT_HEARTBEAT: Final = 1.0
"""Seconds between heartbeats, unless the engine says otherwise. It gives up after about 10."""

FORGOTTEN_SECONDS: Final = 300.0
"""How long a result is offered to an engine that has restarted and does not know the task yet. Within a minute or so it
takes its runs up again, and hands out their tasks under the same ids."""

STALE_SECONDS: Final = 1.0
"""The same for an engine that has not restarted, as far as is known: time for bad news to arrive."""

CLAIM_ATTEMPTS: Final = 5

_log = logging.getLogger(__name__)

Outcome = tasks.ComponentExecuteResponse | reports.TaskError


class BridgeTask:
    """A task that was handed out. `attempt` counts from 1; the engine may hand it out again at any time."""

    def __init__(self, engine: EngineTaskClient, assignment: tasks.TaskAssignment) -> None:
        self.id = assignment.task_id
        self.request = assignment.execute
        self._engine = engine
        self._root_run_id = assignment.context.root_run_id
        self._orchestrator = assignment.context.orchestrator_service_url
        self._interval = float(assignment.heartbeat_interval_secs or DEFAULT_HEARTBEAT)
        self._outages = engine.outages
        self._handed_out_again = asyncio.Event()

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
        """What executes, and in which trace."""
        told = self.request.observability
        return ObservabilityContext(
            trace_id=told.trace_id or None,
            span_id=told.span_id or None,
            run_id=told.run_id or None,
            flow_id=told.flow_id or None,
            step_id=told.step_id or None,
        )

    def handed_out_again(self, assignment: tasks.TaskAssignment) -> None:
        """The engine hands it out to this worker, which has it already: the engine has restarted, or heard too little.

        The execution that goes on counts for the new attempt.
        """
        self._orchestrator = assignment.context.orchestrator_service_url
        self._handed_out_again.set()

    async def perform(self, execute: Callable[["BridgeTask"], Awaitable[Outcome]]) -> None:
        """Claim the task, execute it, and tell the engine how it ended. Nothing of this fails."""
        if not await self._claimed():
            return
        execution = asyncio.ensure_future(execute(self))
        heartbeats = asyncio.create_task(self._keep(execution))
        try:
            await asyncio.wait([execution])
        finally:
            execution.cancel()
            heartbeats.cancel()
            await asyncio.gather(execution, heartbeats, return_exceptions=True)
        if not execution.cancelled():
            await self._complete(execution.result())

    async def _claimed(self) -> bool:
        """Claim it by the first heartbeat; False if another worker has it, or it is no task any more."""
        backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        for _ in range(CLAIM_ATTEMPTS):
            try:
                return await self._engine.beat(self._orchestrator, self.id, self.run_id)
            except EngineAway as error:
                _log.info("task %s cannot be claimed now: %s", self.id, error)
            except (TaskUnknown, TaskRefused) as error:
                _log.info("task %s is none any more: %s", self.id, error)
                return False
            await asyncio.sleep(backoff.next())
            await self._look_for_orchestrator()
        return False

    async def _keep(self, execution: asyncio.Future[Outcome]) -> None:
        """Keep the task by heartbeats while it executes; abandon it when another worker has it."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                if not await self._engine.beat(self._orchestrator, self.id, self.run_id):
                    _log.warning("task %s is executed by another worker now", self.id)
                    execution.cancel()
                    return
            except (EngineAway, TaskUnknown, TaskRefused) as error:
                # An engine that has restarted may hand it out again; meanwhile the execution goes on.
                _log.info("task %s: no heartbeat: %s", self.id, error)
                await self._look_for_orchestrator()

    async def _complete(self, outcome: Outcome) -> None:
        """Tell the engine the outcome, for as long as it is away."""
        request = reports.CompleteTaskRequest(task_id=self.id, run_id=self.run_id or None)
        _set_outcome(request, outcome)
        backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        loop = asyncio.get_running_loop()
        unknown_since: float | None = None
        while True:
            self._handed_out_again.clear()
            try:
                await self._engine.complete(self._orchestrator, request)
                return
            except TaskRefused as error:
                if request.WhichOneof("result") == "error":
                    _log.warning("task %s: the engine takes no outcome: %s", self.id, error)
                    return
                message = f"the engine does not take the output: {error}"
                _set_outcome(request, refusal(reports.TASK_ERROR_CODE_WORKER_ERROR, message))
                continue
            except TaskUnknown as error:
                unknown_since = unknown_since or loop.time()
                restarted = self._engine.outages != self._outages
                if loop.time() > unknown_since + (FORGOTTEN_SECONDS if restarted else STALE_SECONDS):
                    _log.info("task %s has ended without this outcome: %s", self.id, error)
                    return
            except EngineAway as error:
                _log.info("task %s cannot be completed now: %s", self.id, error)
                unknown_since = None
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.next()):
                    await self._handed_out_again.wait()
            await self._look_for_orchestrator()

    async def _look_for_orchestrator(self) -> None:
        """The run may have moved to another orchestrator."""
        found = await self._engine.orchestrator_of(self._root_run_id or self.run_id)
        if found is not None:
            self._orchestrator = found


def _set_outcome(request: reports.CompleteTaskRequest, outcome: Outcome) -> None:
    if isinstance(outcome, reports.TaskError):
        request.error.CopyFrom(outcome)
    else:
        request.response.CopyFrom(outcome)
