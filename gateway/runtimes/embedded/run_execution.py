"""The execution of one run: its items, at its own concurrency."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from gateway.concurrency.room import RoomHolder
from gateway.concurrency.task_pool import TaskPool
from gateway.core.clock import now
from gateway.core.internal_errors import release_frames
from gateway.core.model import ItemResult, JsonText
from gateway.flows.execution import evaluate_inline
from gateway.flows.flow import Flow
from gateway.flows.item_execution import ItemExecution
from gateway.flows.item_log import ItemLog
from gateway.flows.item_results import failed, succeeded
from gateway.flows.item_work import DEFAULT_CONCURRENCY, FamilyWork, ItemWork
from gateway.flows.run_trace import RunTrace, ended
from gateway.flows.task import Host, ItemFailure
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.results_keeper import ResultsKeeper
from gateway.runtimes.embedded.run import Run
from gateway.telemetry import tracing
from gateway.telemetry.semconv import CANCELLED, STOPPED


class Job(NamedTuple):
    """A run to execute. `inputs` is None if only the journal has them; `ended` is called at the end of the run."""

    run: Run
    flow: Flow
    variables: Mapping[str, JsonText]
    inputs: Sequence[JsonText] | None
    host: Host
    ended: Callable[[Run], None]


class RunExecution:
    """Executes the items of one run that have not finished.

    An item without steps that takes one step of work is evaluated in the task of the run, and nobody sees it run. Any
    other item has a task and a place. It counts as running until its result has been published.
    """

    def __init__(self, job: Job, family: FamilyWork, journal: Journal) -> None:
        self._job = job
        self._run = job.run
        self._family = family
        self._journal = journal
        self._limit = job.run.record.max_concurrency or DEFAULT_CONCURRENCY
        self._pool = TaskPool(family.shared.canceller)
        self._keeper = ResultsKeeper(job.run, journal, RoomHolder(family.room), self._pool.notify)
        self._keeping: asyncio.Task[None] | None = None
        self._trace = None if tracing.tracer is None else _trace_of(job.run)
        self.begun = False
        """Whether `execute` has been called. Before, a run that is cancelled need not be interrupted."""

    async def execute(self) -> None:
        """Return when all results are kept. Raises what the journal has raised, but for Unavailable.

        When the run has been cancelled, to cancel the task interrupts it: the items end, and then the run.
        """
        self.begun = True
        try:
            if not self._run.cancelling:
                await self._execute_items()
        except asyncio.CancelledError:
            if not self._is_interrupted:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        if self._run.may_end is not None:
            await self._run.may_end.wait()
            self._keeper.end_cancelled()
            await (self._keeping or self._keeper.keep_all())

    @property
    def _is_interrupted(self) -> bool:
        """Whether the run has been cancelled, and goes on to its end: not if the gateway stops."""
        return self._run.cancelling and not self._family.shared.stopping

    async def _execute_items(self) -> None:
        async with aclosing(self._pending()) as pending:
            if self._run.record.total == 1:
                async for index, text in pending:
                    await self._only_item(index, text)
            else:
                await self._items(pending)

    async def _only_item(self, index: int, text: JsonText) -> None:
        if not self._family.places.take_if_free():
            await self._family.places.take()
        work = ItemWork(self._family)
        try:
            self._begin(index, work)
            await self._item(index, text, work)
        finally:
            work.end()
        if not self._run.cancelling:
            await self._keeper.keep_all()

    async def _items(self, pending: AsyncGenerator[tuple[int, JsonText], None]) -> None:
        evaluator = None if self._job.flow.steps else RoomHolder(self._family.room)
        self._keeping = self._pool.start(self._keeper.keep_all())
        try:
            async for index, text in pending:
                if evaluator is None or not await self._evaluate(index, text, evaluator):
                    await self._start(index, text)
            while not self._run.finished and not self._run.cancelling:
                await self._pool.change()
        finally:
            await self._pool.close(self._keeping if self._is_interrupted else None)

    async def _evaluate(self, index: int, text: JsonText, evaluator: RoomHolder) -> bool:
        """Execute an item in one step of work; False if it needs more."""
        while self._keeper.is_full:
            await self._pool.change()
        if not evaluator.has_room():
            await evaluator.wait_for_room()
        if not self._family.line.goes_on():
            await self._family.line.checkpoint()
        since = 0 if self._trace is None else now()
        try:
            value = evaluate_inline(self._job.flow, text, self._job.variables)
        except ItemFailure as failure:
            release_frames(failure)
            result = failed(index, failure.error, now())
        else:
            if value is None:
                return False
            result = succeeded(index, value, now())
        if self._trace is not None:
            self._trace.executed((result,), since)
        self._keeper.add(result)
        return True

    async def _start(self, index: int, text: JsonText) -> None:
        """Start an item as soon as the run may have one more, and there is a place for it."""
        while self._run.running >= self._limit:
            await self._pool.change()
        if not self._family.places.take_if_free():
            await self._family.places.take()
        work = ItemWork(self._family)
        self._begin(index, work)
        self._pool.start(self._item(index, text, work), work.end)

    def _begin(self, index: int, work: ItemWork) -> None:
        # How often items of a run from before have begun is not known.
        work.log = ItemLog(now(self._run.record.created_at), 0 if self._run.restored else 1)
        self._run.start(index, work.log)

    async def _pending(self) -> AsyncGenerator[tuple[int, JsonText], None]:
        """Yield the unfinished items, by index, each with its input."""
        run, index = self._run, 0
        page = self._job.inputs
        while (index := run.next_unfinished(index)) < run.record.total:
            if page is None:
                page = await self._journal.inputs(run.record.run_id, index)
            if not page:
                raise LookupError(f"the journal has no input {index} of run {run.record.run_id}")
            for text in page:
                if not run.is_done(index):
                    yield index, text
                index += 1
            page = None

    async def _item(self, index: int, text: JsonText, work: ItemWork) -> None:
        if self._trace is None:
            result = await self._result(index, text, work)
        else:
            result = await self._traced_result(self._trace, index, text, work)
        self._keeper.add(result, None if work.log is None else work.log.kept())

    async def _traced_result(self, trace: RunTrace, index: int, text: JsonText, work: ItemWork) -> ItemResult:
        with trace.item(index) as span:
            try:
                result = await self._result(index, text, work)
            except asyncio.CancelledError:
                span.add_event(CANCELLED if self._is_interrupted else STOPPED)
                raise
            ended(span, result)
            return result

    async def _result(self, index: int, text: JsonText, work: ItemWork) -> ItemResult:
        job = self._job
        return await ItemExecution(self._run.record, job.flow, job.variables, job.host).result(index, text, work)


def _trace_of(run: Run) -> RunTrace:
    """The trace of a run whose execution begins in the call that submits it, or after a restart."""
    return RunTrace.of_record(run.record) if run.restored else RunTrace.of_call(run.record)
