"""The results of a run on their way to the journal."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from gateway.concurrency.notify import Notify
from gateway.concurrency.room import RoomHolder
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import Unavailable
from gateway.core.internal_errors import release_frames
from gateway.core.model import ItemResult, RunState
from gateway.core.runtime import text_size
from gateway.flows.item_log import StoppedItem
from gateway.flows.run_record import Outcome
from gateway.runtimes.embedded.journal import Completion, Journal
from gateway.runtimes.embedded.run import Run

RETRY_SECONDS: Final = 1.0
"""Seconds before a write is repeated that the journal has refused."""

MAX_TOGETHER: Final = 256
"""How many results are written, and published, together: some 0.2 ms of the event loop."""

STOPPED_BYTES: Final = 1 << 20
"""About how many bytes are kept of the steps of items that a cancel stops, for a run: of the first ones that fit. Of
others it is kept when they began, and how often."""


class ResultsKeeper:
    """Keeps the results of a run, one write at a time: those that come during a write share the next one.

    So results become durable, and are published, in the order of completion, even if a write has to be repeated.
    `holder` holds them until then, and `kept` is called after each write.
    """

    def __init__(self, run: Run, journal: Journal, holder: RoomHolder, kept: Callable[[], None]) -> None:
        self._run = run
        self._journal = journal
        self._holder = holder
        self._kept = kept
        self._waiting: list[Completion] = []
        self._added = Notify()

    @property
    def is_full(self) -> bool:
        """Whether as many results wait as are written together: those who could wait should add no more."""
        return len(self._waiting) >= MAX_TOGETHER

    def add(self, result: ItemResult, steps: bytes | None = None) -> None:
        """An item has its result, by steps of which `steps` is kept. It is discarded if the run has been cancelled."""
        if self._run.cancelling:
            return
        self._holder.hold(text_size(result))
        self._waiting.append(self._run.complete(result, steps))
        self._added.set()

    def end_cancelled(self) -> None:
        """The run ends with the results that there are: its outcome is written with the last of them."""
        self._run.end_cancelled()
        self._added.set()

    async def keep_all(self) -> None:
        """Keep results until the run has ended."""
        run = self._run
        while not run.finished:
            await self._added.wait()
            while self._waiting or not (run.end is None or run.finished):
                completions = self._waiting[:MAX_TOGETHER]
                del self._waiting[:MAX_TOGETHER]
                outcome = None if self._waiting else run.end
                is_cancelled = outcome is not None and outcome.status is RunState.CANCELLED
                stopped = await self._stopped(completions) if is_cancelled else ()
                await self._keep(completions, outcome, stopped)
                run.publish(completions, outcome)
                self._holder.hold(-sum(text_size(completion.result) for completion in completions))
                if stopped:
                    self._holder.hold(-sum(len(item.kept) for item in stopped))
                self._kept()

    async def _stopped(self, completions: Sequence[Completion]) -> Sequence[StoppedItem]:
        """The items that were executing when the run was cancelled, and have no result, also not among these."""
        stopped: list[StoppedItem] = []
        ended = {completion.result.item_index for completion in completions}
        size = 0
        slice_of_time = TimeSlice()
        for index, log in sorted(self._run.executing.items()):
            if log is not None and index not in ended:
                item = StoppedItem(index, log.stopped(with_steps=size < STOPPED_BYTES))
                size += len(item.kept)
                self._holder.hold(len(item.kept))
                stopped.append(item)
                await slice_of_time.checkpoint()
        return stopped

    async def _keep(
        self, completions: Sequence[Completion], outcome: Outcome | None, stopped: Sequence[StoppedItem]
    ) -> None:
        """Write completions, and retry for ever: a result that exists is never given up."""
        while True:
            try:
                return await self._journal.complete(self._run.record.run_id, completions, outcome, stopped)
            except Unavailable as error:
                release_frames(error)
            await asyncio.sleep(RETRY_SECONDS)
