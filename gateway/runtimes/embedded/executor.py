"""Executes the items of runs, each run at its own concurrency."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import Unavailable
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.core.model import ItemError, ItemResult, JsonText, RunState
from gateway.runtimes.embedded.execution import evaluate_inline, execute_flow
from gateway.runtimes.embedded.flow import Flow
from gateway.runtimes.embedded.journal import Completion, Ended, Journal, Outcome
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.task import Host, ItemFailure, Task

_log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 64
"""How many items of a run execute at the same time if the submit has no `max_concurrency`. Items of all runs together
have no bound: an item may wait for a nested run, and a common bound could make both wait for ever."""

INLINE_ITEMS = 16
INLINE_CHARACTERS = 1 << 16
"""A run without steps, up to this many items and characters of input, is executed while it is accepted: it then costs
one write and no task, and takes no longer than accepting it."""

RETRY_SECONDS = 1.0
"""Seconds that an item waits before it retries a write that the journal has refused."""


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
        try:
            value = evaluate_inline(flow, text, variables)
        except ItemFailure as failure:
            results.append(_failed(index, failure.error))
            failed += 1
            continue
        if value is None:
            return None
        results.append(_succeeded(index, value))
    state = RunState.FAILED if failed else RunState.SUCCESS
    return Ended(Outcome(state, len(results) - failed, failed, time.time_ns()), results)


class Executor:
    """Owns one task for each run that executes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, job: Job) -> None:
        """Execute the items of a run that have not finished."""
        task = asyncio.create_task(self._execute(job))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def stop(self) -> None:
        """Stop executing. Unfinished items have no result; they execute again after a restart."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        retrieve_exception(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a run has stopped executing and stays unfinished", exc_info=error)

    async def _execute(self, job: Job) -> None:
        async with aclosing(self._pending(job)) as pending:
            if job.run.record.total == 1:
                async for index, text in pending:
                    await self._item(job, index, text)
            else:
                await self._items(job, pending)
        job.ended(job.run)

    async def _items(self, job: Job, pending: AsyncGenerator[tuple[int, JsonText], None]) -> None:
        limit = asyncio.Semaphore(job.run.record.max_concurrency or DEFAULT_CONCURRENCY)
        async with asyncio.TaskGroup() as items:
            async for index, text in pending:
                await limit.acquire()
                item = items.create_task(self._item(job, index, text))
                item.add_done_callback(lambda _: limit.release())

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

    async def _item(self, job: Job, index: int, text: JsonText) -> None:
        job.run.start()
        result = await self._result(job, index, text)
        completion = job.run.complete(result)
        await self._keep(completion)
        job.run.publish(completion)

    async def _result(self, job: Job, index: int, text: JsonText) -> ItemResult:
        try:
            value = await self._output(job, index, text)
        except ItemFailure as failure:
            release_frames(failure)
            return _failed(index, failure.error)
        except Exception as error:
            internal = error_to_tell(error)
            return _failed(index, ItemError(code=internal.jsonrpc_code, message=internal.message))
        return _succeeded(index, value)

    async def _output(self, job: Job, index: int, text: JsonText) -> JsonText:
        record = job.run.record
        task = Task(run_id=record.run_id, flow_id=record.flow_id, item_index=index)
        while True:
            try:
                return await execute_flow(job.flow, text, job.variables, job.host, task)
            except Unavailable as error:
                # The cause is the journal, not the item: a full disk must not fail items.
                release_frames(error)
            await asyncio.sleep(RETRY_SECONDS)

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
