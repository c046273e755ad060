"""Calls that concern many runs: all that match a filter when the call begins."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Final
from uuid import UUID

from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.concurrency.memory_account import MemoryHold, MemoryShare
from gateway.core.control import BulkProgress, CancelRunsParams, DeleteRunsParams
from gateway.core.errors import RunNotEnded, RunNotFound, TooLarge
from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Runtime
from gateway.runs.listing import AT_ONCE, RunLists

MAX_RUNS: Final = 1 << 22
"""How many runs one call concerns at most."""

PROGRESS_SECONDS: Final = 1.0
"""How often a call tells how far it has come."""

CONCURRENCY: Final = 8
"""How many runs one call cancels or deletes at the same time: their writes share commits."""

_ID_BYTES: Final = 16
_ID_COST: Final = 18
"""What an id takes in a `bytearray` that grows, in bytes."""


class BulkCalls:
    """Cancels and deletes many runs of one runtime. The ids of the runs that a call concerns draw from `share`."""

    def __init__(self, runtime: Runtime, lists: RunLists, share: MemoryShare) -> None:
        self._runtime = runtime
        self._lists = lists
        self._share = share
        self._fair_queue = FairQueue()

    async def cancel(self, params: CancelRunsParams) -> AsyncGenerator[BulkProgress, None]:
        """Cancel the runs that match, and yield how far that has come, at last the final numbers.

        Closing it stops it: runs that have been cancelled by then stay so. Close it explicitly. Raises TooLarge if more
        than MAX_RUNS runs match, Overloaded if there is no memory for their ids, and what the runtime raises.
        """

        async def cancel_one(run_id: str) -> bool:
            snapshot = await self._runtime.cancel(run_id, params.reason or None)
            return snapshot.status.status is RunState.CANCELLED

        with self._share.hold() as hold:
            chosen = await self._resolve(params.filter, hold, ended=False)
            async with aclosing(_progress(chosen, cancel_one, self._fair_queue)) as told:
                async for progress in told:
                    yield progress

    async def delete(self, params: DeleteRunsParams) -> AsyncGenerator[BulkProgress, None]:
        """Delete the runs that match, as `cancel` cancels them. Those that have not ended stay, unless `cancel`."""

        async def delete_one(run_id: str) -> bool:
            await self._runtime.delete(run_id, cancel=params.cancel)
            return True

        with self._share.hold() as hold:
            chosen = await self._resolve(params.filter, hold, ended=True)
            async with aclosing(_progress(chosen, delete_one, self._fair_queue)) as told:
                async for progress in told:
                    yield progress

    async def _resolve(self, wanted: RunFilter, hold: MemoryHold, *, ended: bool) -> "_Chosen":
        """The runs that match now. Without `ended`, those that have ended are counted and not kept.

        The newest come first: those that are submitted meanwhile would come before, and are never seen.
        """
        chosen = _Chosen()
        slices = FairSlices(self._fair_queue)
        cursor = ""
        while True:
            page = await self._lists.read(wanted, RunOrder.NEWEST_FIRST, cursor, AT_ONCE)
            chosen.matched += len(page.runs)
            if chosen.matched > MAX_RUNS:
                raise TooLarge(f"more than {MAX_RUNS:,} runs match: narrow the filter, and call once for each part")
            kept = [run.run_id for run in page.runs if ended or not run.status.terminal]
            hold.grow(_ID_COST * len(kept))
            chosen.ids += b"".join(bytes.fromhex(run_id.replace("-", "")) for run_id in kept)
            cursor = page.cursor
            if not cursor:
                return chosen
            await slices.checkpoint()


class _Chosen:
    """The runs that a call concerns: how many matched, and the ids of those that are to be changed."""

    def __init__(self) -> None:
        self.matched = 0
        self.ids = bytearray()

    def each(self) -> Iterator[str]:
        """The ids, one at a time."""
        for start in range(0, len(self.ids), _ID_BYTES):
            yield str(UUID(bytes=bytes(self.ids[start : start + _ID_BYTES])))


async def _progress(
    chosen: _Chosen, change: Callable[[str], Awaitable[bool]], fair_queue: FairQueue
) -> AsyncGenerator[BulkProgress, None]:
    """Change each run, a few at a time, and yield how far that has come."""
    done, unchanged = 0, chosen.matched - len(chosen.ids) // _ID_BYTES
    ids = chosen.each()

    async def work() -> None:
        nonlocal done, unchanged
        slices = FairSlices(fair_queue)
        for run_id in ids:
            try:
                changed = await change(run_id)
            except (RunNotEnded, RunNotFound):
                changed = False
            done += changed
            unchanged += not changed
            await slices.checkpoint()

    workers = [asyncio.create_task(work()) for _ in range(CONCURRENCY)]
    try:
        yield BulkProgress(chosen.matched, 0, unchanged)
        pending = set(workers)
        while pending:
            ended, pending = await asyncio.wait(pending, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            for worker in ended:
                worker.result()
            yield BulkProgress(chosen.matched, done, unchanged)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
