"""Brings back the runs that had not ended when the state was closed, in the background."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from gateway.concurrency.batches import call_in_batches
from gateway.concurrency.tasks import create_shared_task
from gateway.core.errors import Unavailable
from gateway.core.internal_errors import report_unexpected
from gateway.flows.nesting import Nesting
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.ancestors import Ancestors
from gateway.runtimes.embedded.cancel_notes import BegunCancel
from gateway.runtimes.embedded.journal import Journal, UnfinishedRun
from gateway.runtimes.embedded.run import Run
from gateway.telemetry.run_log import of_run

RETRY_SECONDS: Final = 1.0
"""Seconds until a read that the journal has refused is repeated."""


class Resumption:
    """Resumes unfinished runs one by one, oldest first, so that the reads of others come in between.

    First it counts the items of nested runs, and finds out which runs they are inside. Until this is done, no run from
    before executes or is cancelled, and none of its family is accepted. `resume` brings a run back if that has not been
    done: somebody may have asked for it. `cancel` goes on with a cancel that had begun.
    """

    def __init__(
        self,
        journal: Journal,
        nesting: Nesting,
        ancestors: Ancestors,
        *,
        resume: Callable[[str], Awaitable[object]],
        cancel: Callable[[BegunCancel], None],
    ) -> None:
        self._journal = journal
        self._nesting = nesting
        self._ancestors = ancestors
        self._resume = resume
        self._cancel = cancel
        self._counted = asyncio.Event()
        self._held: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Find out whether there is anything to resume: one short read."""
        if not await self._journal.unfinished(0):
            self._counted.set()
        else:
            self._journal.readiness.starting = "runs from before are counted"

    def start(self) -> None:
        """Begin, in the background."""
        if self._task is None and not self._counted.is_set():
            self._task = create_shared_task(self._run())

    async def stop(self) -> None:
        """End it. What has not been resumed is resumed after the next start."""
        self._held.clear()
        self._counted.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def counted(self) -> None:
        """Wait until the items of all families are counted, or until `stop`."""
        if not self._counted.is_set():
            await self._counted.wait()

    def when_counted(self, execute: Callable[[], None]) -> None:
        """Call `execute` as soon as a run from before may execute."""
        if self._counted.is_set():
            execute()
        else:
            self._held.append(execute)

    async def _run(self) -> None:
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for run in page:
                    if run.root_id is not None:
                        self._nesting.add(run.root_id, run.total)
                        await self._restore_ancestors(run.run_id, run.parent_id or run.root_id)
        for cancel in await self._cancels():
            self._cancel(cancel)
        self._counted.set()
        self._journal.readiness.starting = None
        held, self._held = self._held, []
        call_in_batches(iter(held))
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for run in page:
                    await self._resume_one(run.run_id)

    async def _cancels(self) -> list[BegunCancel]:
        while True:
            try:
                return await self._journal.cancel_notes.all()
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _restore_ancestors(self, run_id: str, parent_id: str) -> None:
        while True:
            try:
                return await self._ancestors.restore(run_id, parent_id)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _pages(self) -> AsyncGenerator[list[UnfinishedRun], None]:
        last = 0
        while True:
            try:
                page = await self._journal.unfinished(last)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not page:
                return
            yield page
            last = page[-1].number

    async def _resume_one(self, run_id: str) -> None:
        while True:
            try:
                await self._resume(run_id)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                # This run stays unfinished; it must not keep the others from going on.
                report_unexpected(error, of_run(run_id))
                return
            else:
                return


async def prefix_of(journal: Journal, record: RunRecord, outcome: Outcome) -> int:
    """How many leading items of a run that has ended have results. Raises Unavailable as `restore` does."""
    if not outcome.cancelled:
        return record.total
    start = 0
    while start < outcome.success + outcome.failed:
        done = (await journal.finished_items(record.run_id, start)).done
        gap = done.find(0)
        start += len(done) if gap < 0 else gap
        if gap >= 0:
            break
    return start


async def restore(journal: Journal, run: Run) -> None:
    """Let a run know which of its items had finished. Raises Unavailable if the journal cannot be read."""
    start = 0
    while start < run.record.total:
        finished = await journal.finished_items(run.record.run_id, start)
        run.restore(start, finished)
        start += len(finished.done)
