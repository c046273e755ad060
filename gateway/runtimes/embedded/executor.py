"""Executes the items of runs, each run at its own concurrency."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.task_pool import TaskPool
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import Unavailable
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.core.model import ItemError, ItemResult, JsonText, RunState
from gateway.core.runtime import text_size
from gateway.runtimes.embedded.execution import evaluate_inline, execute_flow
from gateway.runtimes.embedded.flow import Flow
from gateway.runtimes.embedded.item_work import FamilyWork, ItemWork, SharedWork
from gateway.runtimes.embedded.journal import Completion, Ended, Journal, Outcome
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.task import Host, ItemFailure, Task

_log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 64
"""How many items of a run execute at the same time if the submit has no `max_concurrency`."""

INLINE_ITEMS = 16
INLINE_CHARACTERS = 1 << 16
"""A run without steps, up to this many items and characters of input, is executed while it is accepted: it then costs
one write and no task, and takes no longer than accepting it."""

RETRY_SECONDS = 1.0
"""Seconds that an item waits before it retries a write that the journal has refused."""

SMALL_RESULT = 1 << 10
"""Results up to this size, in characters, are not counted while they wait to be kept: there are few at a time."""

STOP_SECONDS = 2.0
"""How long stopping waits for tasks to end. Those that are left end with the process, and lose nothing either."""


class Job(NamedTuple):
    """A run to execute. `inputs` is None if only the journal has them; `ended` is called at the end of the run."""

    run: Run
    flow: Flow
    variables: Mapping[str, JsonText]
    inputs: Sequence[JsonText] | None
    host: Host
    ended: Callable[[Run], None]


def run_inline(flow: Flow, variables: Mapping[str, JsonText], inputs: Sequence[JsonText]) -> Ended | None:
    """Execute a small run without steps. Return None, without an effect, if it is large or needs steps."""
    if len(inputs) > INLINE_ITEMS or sum(map(len, inputs)) > INLINE_CHARACTERS:
        return None
    results = []
    failed = 0
    for index, text in enumerate(inputs):
        result = _evaluated(flow, text, variables, index)
        if result is None:
            return None
        results.append(result)
        failed += result.status is RunState.FAILED
    state = RunState.FAILED if failed else RunState.SUCCESS
    return Ended(Outcome(state, len(results) - failed, failed, time.time_ns()), results)


def _evaluated(flow: Flow, text: JsonText, variables: Mapping[str, JsonText], index: int) -> ItemResult | None:
    """The result of an item that needs no steps, and takes one step of work; None if it needs more."""
    try:
        value = evaluate_inline(flow, text, variables)
    except ItemFailure as failure:
        return _failed(index, failure.error)
    return None if value is None else _succeeded(index, value)


class Executor:
    """Owns one task for each run that executes.

    At most `max_items` items of all runs execute at the same time. What they make draws from `account`.
    """

    def __init__(self, journal: Journal, *, max_items: int, account: MemoryAccount) -> None:
        self._journal = journal
        self._shared = SharedWork(max_items, account)
        self._families: dict[str, FamilyWork] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._stop_by: float | None = None

    def start(self, job: Job) -> None:
        """Execute the items of a run that have not finished."""
        root_id = job.run.record.root_id or job.run.record.run_id
        family = self._families.get(root_id)
        if family is None:
            family = self._families[root_id] = FamilyWork(self._shared)
        family.runs += 1
        task = asyncio.create_task(self._execute(job, family))
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, root_id))

    def waits_for_runs(self, scope: str) -> None:
        """Note that the component that executes the task `scope` asks for runs.

        Until it has ended, its item counts as one that waits, so that those runs have places.
        """
        self._shared.waits_for_runs(scope)

    async def stop(self) -> None:
        """Stop executing. Unfinished items have no result; they execute again after a restart.

        Tasks are cancelled a few at a time. The first call takes `STOP_SECONDS` at most, and later ones wait no longer.
        """
        if self._stop_by is None:
            self._stop_by = asyncio.get_running_loop().time() + STOP_SECONDS
            self._shared.canceller.cancel(self._tasks)
        if self._tasks:
            self._stopped.clear()
            try:
                async with asyncio.timeout_at(self._stop_by):
                    await self._stopped.wait()
            except TimeoutError:
                _log.warning("%d runs were still executing when the time to stop was over", len(self._tasks))

    def _done(self, root_id: str, task: asyncio.Task[None]) -> None:
        family = self._families[root_id]
        family.runs -= 1
        if not family.runs:
            del self._families[root_id]
        self._tasks.discard(task)
        retrieve_exception(task)
        if not self._tasks:
            self._stopped.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a run has stopped executing and stays unfinished", exc_info=error)

    async def _execute(self, job: Job, family: FamilyWork) -> None:
        async with aclosing(self._pending(job)) as pending:
            if job.run.record.total == 1:
                async for index, text in pending:
                    await self._only_item(job, index, text, family)
            else:
                await self._items(job, pending, family)
        job.ended(job.run)

    async def _only_item(self, job: Job, index: int, text: JsonText, family: FamilyWork) -> None:
        await family.places.take()
        work = ItemWork(family)
        try:
            await self._item(job, index, text, work)
        finally:
            work.end()

    async def _items(self, job: Job, pending: AsyncGenerator[tuple[int, JsonText], None], family: FamilyWork) -> None:
        pool = TaskPool(job.run.record.max_concurrency or DEFAULT_CONCURRENCY, self._shared.canceller)
        start = self._start_item if job.flow.steps else self._evaluate_item
        try:
            async for index, text in pending:
                if pool.is_full:
                    await pool.free()
                if not family.places.take_if_free():
                    await family.places.take()
                await start(job, index, text, ItemWork(family), pool)
            await pool.join()
        finally:
            await pool.close()

    async def _start_item(self, job: Job, index: int, text: JsonText, work: ItemWork, pool: TaskPool) -> None:
        pool.start(self._item(job, index, text, work), work.end)

    async def _evaluate_item(self, job: Job, index: int, text: JsonText, work: ItemWork, pool: TaskPool) -> None:
        """Execute an item without steps. If it is short, only to keep its result takes a task."""
        try:
            await work.checkpoint()
            await work.wait_for_room()
            result = _evaluated(job.flow, text, job.variables, index)
        except BaseException:
            work.end()
            raise
        if result is None:
            pool.start(self._item(job, index, text, work), work.end)
            return
        job.run.start()
        pool.start(self._finish(job, result, work), work.end)

    async def _pending(self, job: Job) -> AsyncGenerator[tuple[int, JsonText], None]:
        """Yield the unfinished items, by index, each with its input."""
        run, index = job.run, 0
        page = job.inputs
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

    async def _item(self, job: Job, index: int, text: JsonText, work: ItemWork) -> None:
        await work.checkpoint()
        job.run.start()
        await self._finish(job, await self._result(job, index, text, work), work)

    async def _finish(self, job: Job, result: ItemResult, work: ItemWork) -> None:
        if (size := text_size(result)) > SMALL_RESULT:
            work.hold(size)
        completion = job.run.complete(result)
        await self._keep(completion)
        job.run.publish(completion)

    async def _result(self, job: Job, index: int, text: JsonText, work: ItemWork) -> ItemResult:
        try:
            value = await self._output(job, index, text, work)
        except ItemFailure as failure:
            release_frames(failure)
            return _failed(index, failure.error)
        except Exception as error:
            internal = error_to_tell(error)
            return _failed(index, ItemError(code=internal.jsonrpc_code, message=internal.message))
        return _succeeded(index, value)

    async def _output(self, job: Job, index: int, text: JsonText, work: ItemWork) -> JsonText:
        record = job.run.record
        task = Task(record.run_id, record.flow_id, index, work)
        while True:
            try:
                return await execute_flow(job.flow, text, job.variables, job.host, task)
            except Unavailable as error:
                # The cause is the journal, not the item: a full disk must not fail items.
                release_frames(error)
            await work.pause(RETRY_SECONDS)

    async def _keep(self, completion: Completion) -> None:
        """Journal a completion, and retry for ever: a result that exists is never given up."""
        while True:
            try:
                return await self._journal.complete(completion)
            except Unavailable as error:
                release_frames(error)
            await asyncio.sleep(RETRY_SECONDS)


def _succeeded(index: int, value: JsonText) -> ItemResult:
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=time.time_ns())


def _failed(index: int, error: ItemError) -> ItemResult:
    return ItemResult(item_index=index, status=RunState.FAILED, error=error, completed_at=time.time_ns())
