"""Executes a flow for one item: the steps that its output needs, each once, as soon as their inputs are complete."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from gateway.concurrency.notify import Notify
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.internal_errors import release_frames
from gateway.core.model import ItemError, JsonText
from gateway.flows.builtins import BUILTINS, BuiltinCall, call_builtin
from gateway.flows.evaluation import evaluate, evaluate_now
from gateway.flows.expressions import Expression, Scope, TooLongAtOnce
from gateway.flows.flow import Flow, Step
from gateway.flows.item_log import StepNote
from gateway.flows.step_retries import MAX_RETRIES, StepRetries
from gateway.flows.step_span import attempt_failed, in_step_span
from gateway.flows.task import COMPONENT_FAILED, Host, ItemFailure, Task
from gateway.flows.values import Value
from gateway.telemetry import tracing


async def execute_flow(
    flow: Flow, text: JsonText, variables: Mapping[str, JsonText], host: Host, task: Task
) -> JsonText:
    """Return the output of a flow for the input `text`.

    Only steps that the output needs are run, and forced ones: these run to their end in any case, and fail the item
    only if its output needs them. Steps that are needed at the same time run concurrently. A step that has become
    useless, after a failure or at the end, is cancelled. Cancelling the call cancels everything.

    `onError` applies to components only: a step whose input has no value fails without an attempt.

    Raises ItemFailure if the item fails, and Unavailable if the host shuts down.
    """
    if not flow.steps:
        if not task.work.has_room():
            await task.work.wait_for_room()
        output = await evaluate(flow.output, Scope(text, variables, flow.defaults), task.work)
        assert output is not None, "without steps, none are missing"
        return output
    return await _FlowExecution(flow, Scope(text, variables, flow.defaults), host, task).run()


def evaluate_inline(flow: Flow, text: JsonText, variables: Mapping[str, JsonText]) -> JsonText | None:
    """Return the output of a flow for an input, or None if steps, or steps of work, are needed.

    Raises ItemFailure if the item fails.
    """
    if flow.forced:
        return None
    try:
        return evaluate_now(flow.output, Scope(text, variables, flow.defaults))
    except TooLongAtOnce:
        return None


_AT_ONCE = 256
"""How many steps or goals an execution looks at before others have a turn: a flow may have a hundred thousand."""

_CANCELLED = ItemError(code=COMPONENT_FAILED, message="the step was cancelled")


class _Goal:
    """An expression to evaluate: the input of a step, or, without a step, the output of the flow.

    `needs` holds the steps that it waits for; the value is True if the failure of the step is certain to fail it.
    """

    __slots__ = ("expression", "needs", "step")

    def __init__(self, expression: Expression, step: Step | None = None) -> None:
        self.expression = expression
        self.step = step
        self.needs: dict[str, bool] = {}


class _FlowExecution:
    """The execution of one item.

    Demand propagates backwards from the output, without recursion, so that chains of steps may have any length. A goal
    whose evaluation misses steps adds goals for these and waits; a step that finishes wakes the goals that wait for it.
    """

    def __init__(self, flow: Flow, scope: Scope, host: Host, task: Task) -> None:
        self._flow = flow
        self._scope = scope
        self._host = host
        self._task = task
        self._work = task.work
        self._held = 0
        self._output: JsonText | ItemError | None = None
        self._forced = set(flow.forced)
        self._notes: dict[str, StepNote | None] = {}
        self._path = f"{'/'.join(map(str, task.path))}/" if task.path else ""
        self._ready = deque([_Goal(flow.output)])
        self._waiting: dict[str, list[_Goal]] = {}
        self._running: dict[str, asyncio.Task[Value | ItemError]] = {}
        self._finished: deque[str] = deque()
        self._any_finished = Notify()

    async def run(self) -> JsonText:
        try:
            for number, step_id in enumerate(self._flow.forced, 1):
                self._demand(step_id)
                if number % _AT_ONCE == 0:
                    await self._work.checkpoint()
            output = await self._outcome()
        finally:
            await self._stop()
            self._work.hold(-self._held)
        if isinstance(output, ItemError):
            raise ItemFailure(output)
        return output

    async def _outcome(self) -> JsonText | ItemError:
        work = self._work
        while True:
            while self._ready:
                if not (work.goes_on() and work.has_room()):
                    await work.checkpoint()
                    await work.wait_for_room()
                await self._pursue(self._ready.popleft())
            if self._output is not None and not self._forced:
                return self._output
            while not self._finished:
                await self._any_finished.wait()
            for _ in range(min(len(self._finished), _AT_ONCE)):
                step_id = self._finished.popleft()
                step = self._running.pop(step_id)
                await self._conclude(step_id, _CANCELLED if step.cancelled() else step.result())
            if self._finished:
                await work.checkpoint()

    async def _stop(self) -> None:
        if self._running:
            for step_id, step in self._running.items():
                if (note := self._notes[step_id]) is None:
                    continue
                if not step.done() or step.cancelled():
                    note.cancel()
                elif step.exception() is None:
                    outcome = step.result()
                    note.end(outcome if isinstance(outcome, ItemError) else None)
            self._work.canceller.cancel(self._running.values())
            await asyncio.wait(self._running.values())
            self._running.clear()

    def _hold(self, size: int) -> None:
        if size:
            self._held += size
            self._work.hold(size)

    def _demand(self, step_id: str) -> None:
        if step_id not in self._notes:
            step = self._flow.steps[step_id]
            self._notes[step_id] = self._work.note(self._path + step_id, step.component)
            self._ready.append(_Goal(step.input, step))

    async def _pursue(self, goal: _Goal) -> None:
        """Evaluate a goal; then run its step, or wait for the steps that are missing."""
        if self._output is not None and (goal.step is None or goal.step.id not in self._flow.reach):
            return
        self._scope.missing = {}
        try:
            value: JsonText | ItemError | None = await evaluate(goal.expression, self._scope, self._work)
        except ItemFailure as failure:
            value = failure.error
        if value is None:
            goal.needs = self._scope.missing
            for number, step_id in enumerate(goal.needs, 1):
                self._waiting.setdefault(step_id, []).append(goal)
                self._demand(step_id)
                if number % _AT_ONCE == 0:
                    await self._work.checkpoint()
        elif goal.step is None:
            self._settle(value)
            if isinstance(value, str):
                self._hold(len(value))
        elif isinstance(value, ItemError):
            await self._conclude(goal.step.id, value)
        elif self._ready or self._running or self._task.loops:
            self._start(goal.step, value)
        else:
            await self._run_alone(goal.step, value)

    def _settle(self, output: JsonText | ItemError) -> None:
        """The output is known: cancel all steps but the forced ones and those that they may need."""
        self._output = output
        reach = self._flow.reach
        self._work.canceller.cancel([step for step_id, step in self._running.items() if step_id not in reach])

    async def _conclude(self, step_id: str, outcome: Value | ItemError) -> None:
        """A step has its outcome: wake the goals that need nothing else, and those that its failure fails."""
        if (note := self._notes[step_id]) is not None:
            if outcome is _CANCELLED:
                note.cancel()
            else:
                note.end(outcome if isinstance(outcome, ItemError) else None)
        self._scope.steps[step_id] = outcome
        self._forced.discard(step_id)
        for number, goal in enumerate(self._waiting.pop(step_id, ()), 1):
            if number % _AT_ONCE == 0:
                await self._work.checkpoint()
            certain = goal.needs.pop(step_id, False)
            if certain and isinstance(outcome, ItemError):
                goal.needs.clear()
                self._ready.append(goal)
            elif not goal.needs:
                self._ready.append(goal)

    async def _run_alone(self, step: Step, text: JsonText) -> None:
        """Run a step that nothing runs beside, in the task of the item: nothing can make it useless.

        Flows that run in place do without this, or they would nest too deeply for the stack.
        """
        self._hold(len(text))
        try:
            outcome = await self._execute(step, text, at_once=True)
        except asyncio.CancelledError:
            if _is_cancelled():
                if (note := self._notes[step.id]) is not None:
                    note.cancel()
                raise
            outcome = _CANCELLED
        self._hold(_size(outcome) - len(text))
        await self._conclude(step.id, outcome)

    def _start(self, step: Step, text: JsonText) -> None:
        # The first step of many starts at once, in place of the item itself.
        running = asyncio.create_task(self._execute(step, text, at_once=not self._running))
        size = len(text)
        self._hold(size)

        def ended(step_task: "asyncio.Task[Value | ItemError]") -> None:
            retrieve_exception(step_task)
            left = 0 if step_task.cancelled() or step_task.exception() is not None else _size(step_task.result())
            self._hold(left - size)
            self._finished.append(step.id)
            self._any_finished.set()

        running.add_done_callback(ended)
        self._running[step.id] = running

    def _execute(self, step: Step, text: JsonText, *, at_once: bool) -> Coroutine[Any, Any, Value | ItemError]:
        """Execute a step until it has its outcome."""
        if tracing.tracer is None:
            return self._attempts(step, text, at_once=at_once)
        return in_step_span(tracing.tracer, step, partial(self._attempts, step, text, at_once=at_once))

    async def _attempts(self, step: Step, text: JsonText, *, at_once: bool) -> Value | ItemError:
        task = self._task.within(step.id)
        note = self._notes[step.id]
        retries = StepRetries(step, self._host.transport_retries)
        while True:
            if not (at_once or self._work.goes_on()):
                await self._work.checkpoint()
            at_once = False
            if note is not None:
                note.begin()
            try:
                return Value(await self._call(step.component, text, retries.attempt, task))
            except ItemFailure as failure:
                error, pause = failure.error, retries.pause_after(failure)
                release_frames(failure)
            if note is not None:
                note.fail(error, last=pause is None)
            if tracing.tracer is not None:
                attempt_failed(retries.attempt, error)
            if pause is None:
                return error if step.on_error.default is None else Value(step.on_error.default)
            if retries.attempt > MAX_RETRIES:
                return task.limit_reached(f"has failed {retries.attempt} times and is not tried again: {error.message}")
            retries.attempt += 1
            await self._work.pause(pause)

    async def _call(self, component: str, text: JsonText, attempt: int, task: Task) -> JsonText:
        try:
            if component in BUILTINS:
                return await call_builtin(component, BuiltinCall(text, self._host, task, execute_flow))
            return await self._host.execute(component, text, attempt, task)
        except Unavailable:
            raise
        except GatewayError as error:
            raise ItemFailure.caused_by(error) from error


def _size(outcome: Value | ItemError) -> int:
    """The size of what a step has left, in characters."""
    return len(outcome.text) if isinstance(outcome, Value) else 0


def _is_cancelled() -> bool:
    """Whether the task that runs is to end, and not only something that it has waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
