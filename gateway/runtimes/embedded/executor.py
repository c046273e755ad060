"""Executes runs: those that need little time at once, others in tasks of their own."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.room import RoomHolder
from gateway.concurrency.tasks import create_shared_task, retrieve_exception
from gateway.core.clock import now
from gateway.core.model import JsonText, Nanoseconds, RunState
from gateway.flows.execution import evaluate_inline
from gateway.flows.flow import Flow
from gateway.flows.item_results import failed, succeeded
from gateway.flows.item_work import FamilyWork, SharedWork
from gateway.flows.run_fields import fields_of
from gateway.flows.run_record import Outcome
from gateway.flows.task import ItemFailure
from gateway.runtimes.embedded.journal import Ended, Journal
from gateway.runtimes.embedded.results_keeper import ResultsKeeper
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.run_execution import Job, RunExecution

_log = logging.getLogger(__name__)

INLINE_ITEMS = 16
INLINE_CHARACTERS = 1 << 16
"""A run without steps, up to this many items and characters of input, is executed while it is accepted: it then costs
one write and no task, and takes no longer than accepting it."""

STOP_SECONDS = 2.0
"""How long stopping waits for tasks to end. Those that are left end with the process, and lose nothing either."""


def run_inline(
    flow: Flow, variables: Mapping[str, JsonText], inputs: Sequence[JsonText], since: Nanoseconds
) -> Ended | None:
    """Execute a small run without steps, which was accepted at the time `since`.

    Return None, without an effect, if it is large or needs steps.
    """
    if len(inputs) > INLINE_ITEMS or sum(map(len, inputs)) > INLINE_CHARACTERS:
        return None
    end = now(since)
    results = []
    failures = 0
    for index, text in enumerate(inputs):
        try:
            value = evaluate_inline(flow, text, variables)
        except ItemFailure as failure:
            failures += 1
            results.append(failed(index, failure.error, end))
            continue
        if value is None:
            return None
        results.append(succeeded(index, value, end))
    state = RunState.FAILED if failures else RunState.SUCCESS
    return Ended(Outcome(state, len(results) - failures, failures, end, started_at=end), results)


class Executor:
    """Owns one task for each run that executes.

    At most `max_items` items of all runs execute at the same time. What they make draws from `account`.
    """

    def __init__(self, journal: Journal, *, max_items: int, account: MemoryAccount) -> None:
        self._journal = journal
        self._shared = SharedWork(max_items, account)
        self._families: dict[str, FamilyWork] = {}
        self._executing: dict[str, _Executing] = {}
        self._stopped = asyncio.Event()
        self._stop_by: float | None = None

    def start(self, job: Job) -> None:
        """Execute the items of a run that have not finished."""
        run, family = job.run, self._family(job.run)
        execution = RunExecution(job, family, self._journal)
        task = create_shared_task(_execute(execution, job))
        self._executing[run.record.run_id] = _Executing(task, execution)
        task.add_done_callback(partial(self._done, run))

    def finish(self, run: Run, ended: Callable[[Run], None]) -> None:
        """Write the end of a run that has been cancelled and does not execute; then call `ended`."""
        keeper = ResultsKeeper(run, self._journal, RoomHolder(self._family(run).room), _nothing)
        keeper.end_cancelled()
        task = create_shared_task(_finish(keeper, run, ended))
        self._executing[run.record.run_id] = _Executing(task, None)
        task.add_done_callback(partial(self._done, run))

    @property
    def items(self) -> int:
        """How many items have a place now."""
        return self._shared.places.taken

    def executes(self, run: Run) -> bool:
        """Whether a run has a task, which ends with the run."""
        return run.record.run_id in self._executing

    def interrupt(self, run: Run) -> None:
        """Stop executing the items of a run that has been cancelled. It ends when it `may_end`."""
        executing = self._executing.get(run.record.run_id)
        if executing is not None and executing.execution is not None and executing.execution.begun:
            executing.task.cancel()

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
            self._shared.stopping = True
            self._shared.canceller.cancel(executing.task for executing in self._executing.values())
        if self._executing:
            self._stopped.clear()
            try:
                async with asyncio.timeout_at(self._stop_by):
                    await self._stopped.wait()
            except TimeoutError:
                _log.warning("%d runs were still executing when the time to stop was over", len(self._executing))

    def _family(self, run: Run) -> FamilyWork:
        """What the family of a run shares, for one run more."""
        root_id = _root_of(run)
        family = self._families.get(root_id)
        if family is None:
            family = self._families[root_id] = FamilyWork(self._shared)
        family.runs += 1
        return family

    def _done(self, run: Run, task: asyncio.Task[None]) -> None:
        root_id = _root_of(run)
        family = self._families[root_id]
        family.runs -= 1
        if not family.runs:
            del self._families[root_id]
        del self._executing[run.record.run_id]
        retrieve_exception(task)
        if not self._executing:
            self._stopped.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a run has stopped executing and stays unfinished", exc_info=error, extra=fields_of(run.record))
            run.fail(error)


class _Executing(NamedTuple):
    """The task of a run, and what it does; None if that is to write the end."""

    task: "asyncio.Task[None]"
    execution: RunExecution | None


def _root_of(run: Run) -> str:
    return run.record.root_id or run.record.run_id


def _nothing() -> None:
    pass


async def _finish(keeper: ResultsKeeper, run: Run, ended: Callable[[Run], None]) -> None:
    await keeper.keep_all()
    ended(run)


async def _execute(execution: RunExecution, job: Job) -> None:
    await execution.execute()
    job.ended(job.run)
