"""The workflow of a run: it hands out the items, keeps the order in which they end, and ends the run.

It does nothing but that: what its items are, only the activities know. It is replayed from its history on any gateway,
so a change of its commands, or of their order, needs `workflow.patched`, and a recorded history in the tests.
"""

import asyncio
from datetime import timedelta
from typing import Final

from msgspec.structs import replace
from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, is_cancelled_exception

from gateway.core.model import Nanoseconds
from gateway.runtimes.temporal.messages import (
    CANCEL,
    CANCEL_NESTED,
    EXECUTE_CHUNK,
    KEEP_INDEX,
    KEEP_PART,
    MAX_INLINE,
    NESTED,
    PROGRESS,
    SPLIT,
    UPKEEP_QUEUE,
    WORKFLOW,
    CancelRequest,
    ChunkDone,
    ChunkSplit,
    Inputs,
    ItemChunk,
    NestedToCancel,
    PartsToKeep,
    ResultsPart,
    RunEnd,
    RunReport,
    RunResult,
    StartRun,
)
from gateway.runtimes.temporal.run_progress import RunProgress, defect

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=8)
"""A gateway that says nothing for so long has died, and its items go to others."""

MAX_EVENTS: Final = 4_000
MAX_HISTORY: Final = 8 << 20
"""With so many events, or bytes, in its history, the workflow begins anew. The engine allows 51,200, and 50 MiB."""

FEW_ITEMS: Final = 16
"""The results of runs with so few items go through the engine up to `MAX_INLINE` characters a chunk."""

CHUNK_INLINE: Final = 8 << 10
"""Of other runs, so many characters a chunk do: a history holds thousands of chunks."""

STATE: Final = SearchAttributeKey.for_keyword("RunsState")

_FOREVER: Final = timedelta(days=3_650)
_RETRIES: Final = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))


@workflow.defn(name=WORKFLOW, sandboxed=False)
class RunWorkflow:
    """A run."""

    @workflow.init
    def __init__(self, start: StartRun) -> None:
        self._start = start
        self._record = start.record
        self._progress = RunProgress(start, _now())
        self._chunks: set[asyncio.Task[None]] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._reason: str | None = None
        self._is_inside = False
        self._changed = False

    @workflow.run
    async def run(self, start: StartRun) -> RunResult:
        """Execute all items."""
        expiry = None if self._record.deadline is None else asyncio.create_task(self._expire(self._record.deadline))
        progress = self._progress
        while not progress.finished and not progress.cancelling:
            self._keep_some()
            if not self._is_long():
                self._hand_out()
            elif not self._chunks and self._keeping is None:
                workflow.continue_as_new(replace(start, carried=progress.carried(), pace=progress.pace))
            await self._change()
        if expiry is not None:
            expiry.cancel()
        if progress.cancelling:
            await self._cancel_all()
        return await self._end()

    @workflow.signal(name=CANCEL)
    def cancel(self, request: CancelRequest) -> None:
        """Cancel the run."""
        self._cancel(request)

    @workflow.signal(name=NESTED)
    def nested(self) -> None:
        """A run inside this one is submitted by somebody else than the gateways that execute its items."""
        self._progress.nested = True

    @workflow.signal(name=SPLIT)
    def split(self, told: ChunkSplit) -> None:
        """An item takes long: what its chunk has come to counts, and what it has not begun is executed elsewhere."""
        if not self._is_inside:
            self._changed |= self._progress.split(told)

    @workflow.query(name=PROGRESS)
    def progress(self, seen: int) -> RunReport:
        """How far the run is, and the results that follow the first `seen` ones."""
        return self._progress.answer(seen)

    def _cancel(self, request: CancelRequest) -> None:
        if not self._progress.cancelling and not self._progress.finished:
            self._progress.cancelling = True
            self._progress.revision += 1
            self._reason = request.reason
            self._is_inside = request.inside
            self._changed = True

    def _hand_out(self) -> None:
        while (items := self._progress.hand_out()) is not None:
            task = asyncio.create_task(self._execute(*items))
            self._chunks.add(task)
            task.add_done_callback(self._chunks.discard)

    async def _execute(self, start: int, stop: int) -> None:
        """Have some items executed. When it is cancelled, those count that have ended by then."""
        inputs = self._start.inputs
        texts = inputs.texts
        chunk = ItemChunk(
            self._record,
            start,
            stop,
            inputs if texts is None else Inputs(texts[start:stop], token=inputs.token),
            MAX_INLINE if self._record.total <= FEW_ITEMS else CHUNK_INLINE,
            self._start.has_parameters,
        )
        try:
            done: ChunkDone = await workflow.execute_activity(
                EXECUTE_CHUNK,
                chunk,
                result_type=ChunkDone,
                schedule_to_close_timeout=_FOREVER,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=_RETRIES,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except (ActivityError, asyncio.CancelledError) as error:
            # What the gateway could not tell of items that have failed is a defect of the gateway.
            is_cancelled = is_cancelled_exception(error)
            low, high = self._progress.range_of(start)
            done = ChunkDone(low, nested=True) if is_cancelled else ChunkDone(high, defect(low, high, _now()))
        if self._is_inside:
            # It may have gone on with what the runs inside it have lost.
            done = ChunkDone(start, nested=done.nested)
        self._progress.ended(start, done)
        self._changed = True

    def _keep_some(self) -> None:
        """Begin to put results, or parts of them, together, if there are many, and nothing is being put together."""
        if self._keeping is None:
            if (found := self._progress.to_keep()) is not None:
                self._keeping = asyncio.create_task(self._keep(KEEP_PART, *found))
            elif (found := self._progress.to_index()) is not None:
                self._keeping = asyncio.create_task(self._keep(KEEP_INDEX, *found))

    async def _keep(self, kind: str, place: int, parts: list[ResultsPart]) -> None:
        """Put results together into an object: a history is no place for many."""
        together: ResultsPart = await workflow.execute_activity(
            kind,
            PartsToKeep(self._record.run_id, place, tuple(parts)),
            task_queue=UPKEEP_QUEUE,
            result_type=ResultsPart,
            schedule_to_close_timeout=_FOREVER,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=_RETRIES,
        )
        self._progress.kept(parts, together)
        self._keeping = None
        self._changed = True

    async def _change(self) -> None:
        await workflow.wait_condition(lambda: self._changed)
        self._changed = False

    async def _expire(self, deadline: Nanoseconds) -> None:
        await asyncio.sleep(max(0.0, (deadline - _now()) / 1e9))
        self._cancel(CancelRequest(self._start.timeout_reason))

    async def _cancel_all(self) -> None:
        """Stop all items, and the runs inside this one, before the run has ended."""
        for task in self._chunks:
            task.cancel()
        await workflow.wait_condition(lambda: not self._progress.executing)
        if self._progress.nested and not self._is_inside:
            await self._cancel_nested()
        self._progress.cancel_rest(_now())

    async def _cancel_nested(self) -> None:
        record = self._record
        await workflow.execute_activity(
            CANCEL_NESTED,
            NestedToCancel(record.run_id, record.root_id or record.run_id, self._reason),
            task_queue=UPKEEP_QUEUE,
            schedule_to_close_timeout=_FOREVER,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=_RETRIES,
        )

    async def _end(self) -> RunResult:
        progress = self._progress
        self._keep_some()
        while self._keeping is not None:
            await workflow.wait_condition(lambda: self._keeping is None)
            self._keep_some()
        ended = RunEnd(
            progress.state(),
            # Not that of `progress`: a query may still be answered after this, with a state that is not the last one.
            progress.revision + 1,
            progress.counts(),
            progress.started_at,
            max(_now(), self._record.created_at),
            self._reason,
        )
        workflow.upsert_search_attributes([STATE.value_set(ended.state)])
        workflow.upsert_memo({"ended": ended})
        return RunResult(ended, tuple(progress.parts))

    def _is_long(self) -> bool:
        info = workflow.info()
        return info.get_current_history_length() > MAX_EVENTS or info.get_current_history_size() > MAX_HISTORY


def _now() -> Nanoseconds:
    return workflow.time_ns()
