"""A chunk is split when one of its items takes long, so that nothing else waits for that item.

What has ended by then is told, and counts; what has not begun is given back, and executes elsewhere. The chunk goes on
with that one item.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace
from temporalio import activity

from gateway.core.time_away import patiently
from gateway.runtimes.temporal.messages import ChunkSplit, ItemChunk, KeptResult, ResultsPart, RunReport
from gateway.telemetry.temporal_metrics import CHUNK_ITEMS_ENDED

PATIENCE: Final = 60.0
"""How many seconds it is tried to tell of it while something is away."""

_SUCCESS: Final = CHUNK_ITEMS_ENDED.labels("success")
_FAILED: Final = CHUNK_ITEMS_ENDED.labels("failed")

NO_RESULTS: Final = 1 << 62
"""A place after all results."""

PutTogether = Callable[[Sequence[KeptResult]], Awaitable[ResultsPart]]


class SplitRuns(Protocol):
    """What tells runs of it: the engine."""

    async def split(self, run_id: str, told: ChunkSplit, /) -> bool:
        """Tell a run that a chunk of it is split. False if the run has ended. Raises RunNotFound."""

    async def progress(self, run_id: str, seen: int, /) -> RunReport | None:
        """How far a run is."""


class SplitWhenLate:
    """A block in which the items of a chunk execute; after so many seconds, the chunk is split.

    `results` are those that it has so far. `put_together` makes one part of them.
    """

    def __init__(
        self, runs: SplitRuns, chunk: ItemChunk, results: Sequence[KeptResult], put_together: PutTogether
    ) -> None:
        self._runs = runs
        self._chunk = chunk
        self._results = results
        self._put_together = put_together
        self._telling: asyncio.Task[None] | None = None
        self.began = time.monotonic()
        """When the items began that have not been told."""
        self._count = 0
        """How many results it had when it was split."""
        self.is_split = False
        """Whether no other item of the chunk may begin."""

    def after(self, seconds: float) -> None:
        """Split it in so many seconds, if an item executes then, and if it has others as well."""
        if self._chunk.stop - self._chunk.start > 1:
            self._telling = asyncio.create_task(self._split(seconds))

    async def finished(self) -> Sequence[KeptResult]:
        """The results that are left to tell, now that no item executes. Raises Unavailable if nothing can be told."""
        if self.is_split and self._telling is not None:
            await self._telling
        return self.untold()

    def untold(self) -> Sequence[KeptResult]:
        """The results that the run has not been told, as far as is known. It takes none twice."""
        task = self._telling
        is_told = task is not None and task.done() and not task.cancelled() and task.exception() is None
        return self._results[self._count :] if is_told and self.is_split else self._results

    async def close(self) -> None:
        """Tell nothing more."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
            if not self._telling.cancelled():
                self._telling.exception()

    async def _split(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        chunk, count = self._chunk, len(self._results)
        if chunk.start + count >= chunk.stop:
            return
        # From here on the item that executes is the last one, whatever comes of this.
        self.is_split, self._count = True, count
        took, self.began = time.monotonic() - self.began, time.monotonic()
        part = await self._put_together(self._results[:count]) if count else None
        told = ChunkSplit(chunk.start, chunk.start + count, part, took)
        await patiently(lambda: self._runs.split(chunk.record.run_id, told), PATIENCE, goes_on)
        if part is not None:
            count_ended(part)


async def left_of(chunk: ItemChunk, runs: SplitRuns) -> ItemChunk:
    """A chunk that the engine has handed out before, without what it has been split from since. Raises Unavailable."""
    report = await runs.progress(chunk.record.run_id, NO_RESULTS)
    at = None if report is None else dict(report.split).get(chunk.start)
    if at is None:
        return chunk
    inputs, number = chunk.inputs, at - chunk.start
    if inputs.texts is not None:
        inputs = replace(inputs, texts=inputs.texts[number : number + 1])
    return replace(chunk, start=at, stop=at + 1, inputs=inputs)


def count_ended(part: ResultsPart) -> None:
    """Count the items of which a run is told."""
    _SUCCESS.value += part.count - part.failed
    _FAILED.value += part.failed


def goes_on() -> bool:
    """Whether the present activity is to be done here."""
    return not (activity.is_cancelled() or activity.is_worker_shutdown())
