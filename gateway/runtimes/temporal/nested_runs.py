"""Runs inside runs: where they belong, how many there may be, and that none begins inside one that is cancelled."""

import time
from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.errors import ParentCancelled, RunNotFound
from gateway.core.model import RunState
from gateway.flows.nesting import Ancestry, Nesting, ParentTask
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.engine import Engine
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.messages import CancelRequest
from gateway.runtimes.temporal.run_reader import RunReader

COUNT_SECONDS: Final = 1.0
"""For how long it counts how many runs a family had when the engine was asked for it."""

FAMILIES: Final = 1_000
"""Of how many families that stays known."""


class _OpenRuns:
    """How many runs of a family have not ended, and how many items were submitted here since that was asked."""

    __slots__ = ("asked", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked = time.monotonic()


class NestedRuns:
    """Finds the parents of runs: those that execute here, and others in the engine."""

    def __init__(self, engine: Engine, executing: ExecutingRuns, reader: RunReader, nesting: Nesting) -> None:
        self._engine = engine
        self._executing = executing
        self._reader = reader
        self._nesting = nesting
        self._counts: BoundedCache[str, _OpenRuns] = BoundedCache(FAMILIES)

    async def ancestry(self, parent: ParentTask, namespace: str, items: int) -> Ancestry | None:
        """Where a run of a namespace belongs that a task submits; None if the run of the task is not known there.

        The parent knows from now on that there are runs inside it. Raises NestedTooDeeply, ParentCancelled, and
        TooManyDescendants.
        """
        run = self._executing.find(parent.run_id)
        if run is None:
            try:
                record = await self._reader.record(parent.run_id)
            except RunNotFound:
                return None
        else:
            record = run.record
        if record.namespace != namespace:
            return None
        depth = record.depth + parent.loops + 1
        self._nesting.refuse_deeper(depth, parent.name)
        ancestry = Ancestry(record.root_id or record.run_id, record.run_id, depth, parent.name)
        if run is not None:
            run.nested = True
        else:
            await self._engine.announce_nested(record.run_id)
        await self._refuse_cancelled(ancestry)
        await self._refuse_more(ancestry, items)
        return ancestry

    async def begun(self, record: RunRecord, ancestry: Ancestry) -> None:
        """A run has begun. Raises ParentCancelled if the one around it has been cancelled meanwhile: so is this one."""
        try:
            await self._refuse_cancelled(ancestry)
        except ParentCancelled:
            await self._engine.cancel(record.run_id, CancelRequest(f"the run {ancestry.parent_id} is cancelled"))
            raise

    async def _refuse_cancelled(self, ancestry: Ancestry) -> None:
        if await self._is_cancelled(ancestry.parent_id):
            raise ParentCancelled(f"{ancestry.task}: the run {ancestry.parent_id} is cancelled")

    async def _is_cancelled(self, run_id: str) -> bool:
        """Whether a run is cancelled, or is being cancelled: those that execute here know it themselves."""
        if self._executing.find(run_id) is not None or self._executing.is_cancelled(run_id):
            return self._executing.is_cancelled(run_id)
        if (progress := await self._engine.progress(run_id, _NO_RESULTS)) is not None:
            return progress.cancelling
        described = await self._engine.describe(run_id)
        return described.ended is None or described.ended.state is RunState.CANCELLED

    async def _refuse_more(self, ancestry: Ancestry, items: int) -> None:
        """Raise TooManyDescendants if the root may not have so many more items.

        The engine tells how many runs there are, but not how many items they have, and that a little late. So each run
        counts as one item, and as all of its items only until the engine is asked again.
        """
        count = self._counts.get(ancestry.root_id)
        if count is None or time.monotonic() - count.asked > COUNT_SECONDS:
            count = _OpenRuns(await self._engine.count_inside(ancestry.root_id))
            self._counts.put(ancestry.root_id, count)
        self._nesting.refuse_more(ancestry, count.number + items)
        count.number += items


_NO_RESULTS: Final = 1 << 62
"""A place after all results."""
