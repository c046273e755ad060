"""Executes the chunks of runs that the engine hands out: their items, one after the other."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from temporalio import activity

from gateway.core.clock import now
from gateway.core.json_text import members
from gateway.core.model import JsonText
from gateway.core.time_away import patiently
from gateway.flows.flow import Flow
from gateway.flows.item_execution import ItemExecution
from gateway.flows.item_log import ItemLog
from gateway.flows.item_work import FamilyWork, ItemWork
from gateway.flows.run_record import RunRecord
from gateway.flows.run_trace import RunTrace, ended
from gateway.flows.task import Host
from gateway.runtimes.temporal.chunk_split import SplitRuns, SplitWhenLate, goes_on, left_of
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.heartbeat import Heartbeat
from gateway.runtimes.temporal.kept_inputs import KeptInputs
from gateway.runtimes.temporal.kept_results import kept, part_of, put_results, size_of
from gateway.runtimes.temporal.messages import ChunkDone, ItemChunk, KeptResult, ResultsPart
from gateway.runtimes.temporal.run_names import chunk_key
from gateway.runtimes.temporal.stored_flows import StoredFlows
from gateway.storage.objects import ObjectStore
from gateway.telemetry import tracing

CHUNK_SECONDS: Final = 1.0
"""A chunk begins no more items after so long: its results are seen when it ends. If one takes longer, it is split."""

STORE_PATIENCE: Final = 60.0
"""How many seconds results are kept in memory while the storage is away."""

CHUNK_SIZE: Final = 1 << 20
"""Nor does it with results of so many characters."""


class ChunkExecution:
    """Executes chunks. `host_of` makes what serves the items of a run; `split_runs` are told of split chunks."""

    def __init__(
        self,
        store: ObjectStore,
        inputs: KeptInputs,
        flows: StoredFlows,
        runs: ExecutingRuns,
        host_of: Callable[[RunRecord], Host],
        *,
        split_runs: SplitRuns,
    ) -> None:
        self._store = store
        self._inputs = inputs
        self._flows = flows
        self._runs = runs
        self._host_of = host_of
        self._split_runs = split_runs

    async def execute(self, chunk: ItemChunk) -> ChunkDone:
        """Execute the items of a chunk. What has not begun when it is cancelled, or takes too long, is left.

        Raises Unavailable, and then the engine has it executed again.
        """
        results: list[KeptResult] = []
        record = chunk.record
        with Heartbeat(), self._runs.executing(record) as (run, family):
            if activity.info().attempt > 1 and chunk.stop - chunk.start > 1:
                chunk = await left_of(chunk, self._split_runs)
            split = SplitWhenLate(self._split_runs, chunk, results, lambda some: self._part(chunk, some))
            try:
                with run.items():
                    flow, variables, texts = await self._prepared(chunk)
                    items = _Items(ItemExecution(record, flow, variables, self._host_of(record)), family)
                    split.after(CHUNK_SECONDS)
                    await _execute_all(items, chunk.start, texts, results, split)
                untold = await split.finished()
            except asyncio.CancelledError:
                run.cancelled = run.cancelled or _is_cancelled()
                if (task := asyncio.current_task()) is not None:
                    task.uncancel()
                untold = split.untold()
            finally:
                await split.close()
            seconds = time.monotonic() - split.began
            part = None
            if untold:
                self._runs.paces.note(record.flow_id, len(untold), seconds)
                part = await self._part(chunk, untold)
        nested = run.nested or activity.info().attempt > 1
        return ChunkDone(chunk.start + len(results), part, seconds, nested)

    async def _prepared(self, chunk: ItemChunk) -> tuple[Flow, dict[str, JsonText], list[JsonText]]:
        long = await self._inputs.parameters(chunk)
        record = chunk.record
        flow = await self._flows.overridden(record.flow_id, long.overrides, record.namespace)
        texts = await self._inputs.texts(chunk)
        # The SDK has used this turn of the event loop for its part, and calling a component takes as long again.
        await asyncio.sleep(0)
        return flow, members(long.variables), texts

    async def _part(self, chunk: ItemChunk, results: Sequence[KeptResult]) -> ResultsPart:
        if sum(map(size_of, results)) <= chunk.inline:
            return part_of(results)
        key = chunk_key(chunk.record.run_id, chunk.start, secrets.token_hex(4))
        # Else all of these items would execute again.
        return await patiently(lambda: put_results(self._store, key, results), STORE_PATIENCE, goes_on)


class _Items:
    """The items of a run, one of which executes at a time."""

    def __init__(self, execution: ItemExecution, family: FamilyWork) -> None:
        self._execution = execution
        self._family = family
        self._since = execution.record.created_at
        self._trace = None if tracing.tracer is None else RunTrace.of_record(execution.record)

    async def result(self, index: int, text: JsonText) -> KeptResult:
        """Execute an item."""
        if not self._family.places.take_if_free():
            await self._family.places.take()
        work = ItemWork(self._family)
        work.log = ItemLog(now(self._since), activity.info().attempt)
        try:
            if self._trace is None:
                result = await self._execution.result(index, text, work)
            else:
                with self._trace.item(index) as span:
                    result = await self._execution.result(index, text, work)
                    ended(span, result)
            return kept(result, work.log.kept())
        finally:
            work.end()


async def _execute_all(
    items: _Items, start: int, texts: Sequence[JsonText], results: list[KeptResult], split: SplitWhenLate
) -> None:
    until = time.monotonic() + CHUNK_SECONDS
    size = 0
    for index, text in enumerate(texts, start):
        result = await items.result(index, text)
        results.append(result)
        size += size_of(result)
        if size >= CHUNK_SIZE or time.monotonic() >= until or split.is_split or activity.is_worker_shutdown():
            return


def _is_cancelled() -> bool:
    """Whether the run has been cancelled; else this gateway stops, or the engine has given the chunk to another."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested
