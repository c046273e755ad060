"""A run in memory: the states of its items, its snapshots, and the watchers that wait for a change."""

import asyncio
import time
from collections.abc import Sequence

from msgspec.structs import replace

from gateway.core.clock import now
from gateway.core.model import ItemResult, Nanoseconds, RunState, RunStatus
from gateway.core.runtime import RESULT_PAGE_LENGTH, Page, Snapshot, text_size
from gateway.flows.item_log import ItemLog
from gateway.flows.run_record import Outcome, RunRecord
from gateway.flows.run_status import run_status, statistics
from gateway.runtimes.embedded.change_log import RunMark
from gateway.runtimes.embedded.ended_run import EPOCH_BITS, RECENT_BYTES, RESULT_BYTES, RUN_BYTES, EndedRun
from gateway.runtimes.embedded.journal import Completion, FinishedItems, of_page
from gateway.runtimes.embedded.retention import KEEP_ALL, Expiry
from gateway.runtimes.embedded.run_counts import items_ended
from gateway.telemetry.metrics import Cell


class Run:
    """Counts the items of a run that executes. All methods are called on the event loop.

    An item goes through `start`, unless nobody sees it run, `complete` (it gets its place in the order of completion,
    and the journal keeps it) and `publish` (it is durable, and watchers may see it).

    After `cancel`, no further item may `start` or `complete`. When the runs inside it have ended, it `may_end`, and it
    ends by `end_cancelled` with what has been completed.
    """

    def __init__(self, record: RunRecord, *, epoch: int = 0, expires_at: Expiry = KEEP_ALL.expires_at) -> None:
        """Make a run that has just been accepted, or one that is to `restore`."""
        self.record = record
        self._expires_at = expires_at
        self._latest = record.created_at
        self.held = 0
        """How many bytes of memory are counted for it."""
        self.left: Cell | None = None
        """Counts the items of all runs in memory that have not ended."""
        self.deleted = False
        """Whether it was cancelled to be deleted, and is."""
        self.mark: RunMark | None = None
        """Its place in the log of changes, since it may be seen."""
        self._revision = epoch << EPOCH_BITS
        self.end: Outcome | None = None
        """The outcome of the run, once its last item has its result or it is cancelled; it may not be durable yet."""
        self.cancelling = False
        """Whether it has been cancelled. It ends as soon as nothing of it executes."""
        self.may_end: asyncio.Event | None = None
        self._reason: str | None = None
        self._failure: BaseException | None = None
        self._outcome: Outcome | None = None
        self._done = bytearray(record.total)
        self._prefix = 0
        self.executing: dict[int, ItemLog | None] = {}
        """The items that have started, and have no result that watchers may see, with what is noted of them."""
        self.restored = False
        """Whether it was accepted by an earlier process."""
        self._success = self._failed = 0
        self._places = self._completions = 0
        self._failures = 0
        self._started_at: Nanoseconds | None = None
        self._recent: list[ItemResult] | None = []
        self._recent_size = 0
        self._in_order = True
        self._snapshot: Snapshot | None = None
        self._changed_at = 0.0
        """When it changed first since the last snapshot, by `time.monotonic()`."""
        self._changed: asyncio.Event | None = None

    def restore(self, start: int, finished: FinishedItems) -> None:
        """Take over items that had finished before a restart; the first of `finished` has the index `start`."""
        self.restored = True
        done = finished.done
        number = done.count(1)
        self._done[start : start + len(done)] = done
        self._success += number - finished.failed
        self._failed += finished.failed
        self._failures = self._failed
        self._completions += number
        self._places = self._completions
        if number:
            # It began some time before: when it went on is what is known.
            self._started_at = self._latest = now(self._latest)
            self._recent = None
        self._advance_prefix()

    @property
    def has_started(self) -> bool:
        """Whether the run has begun to execute."""
        return self._started_at is not None

    @property
    def finished(self) -> bool:
        """Whether the run has ended, and watchers may see it."""
        return self._outcome is not None

    def ended(self) -> EndedRun:
        """The same run, when it has ended."""
        recent, size = self._recent, RUN_BYTES
        if recent is not None:
            size += self._recent_size
        return EndedRun(self.record, self.snapshot(), recent, size)

    def is_done(self, item_index: int) -> bool:
        """Whether an item has finished."""
        return bool(self._done[item_index])

    def next_unfinished(self, item_index: int) -> int:
        """The first item from this one on that has not finished; the number of items if all have."""
        found = self._done.find(0, item_index)
        return self.record.total if found < 0 else found

    def cancel(self, reason: str | None) -> bool:
        """Begin to cancel the run. False if that has been done, or if all items have their results."""
        if self._failure is not None:
            self._forget_unwritten()
        if self.cancelling or self.end is not None:
            return False
        self.cancelling = True
        self.may_end = asyncio.Event()
        self._reason = reason
        return True

    def end_cancelled(self) -> None:
        """Nothing of the cancelled run executes: it ends with the results that there are."""
        success, cancelled = self._places - self._failures, self.record.total - self._places
        self.end = Outcome(
            RunState.CANCELLED,
            success,
            self._failures,
            now(self._latest),
            cancelled=cancelled,
            started_at=self._started_at,
            cancel_reason=self._reason,
        )

    def fail(self, error: BaseException) -> None:
        """It executes no more, and has not ended. Those who wait for the end are told of the error."""
        self._failure = error
        self.touch()

    async def over(self) -> None:
        """Wait for the end. Raises what it has failed with."""
        while not self.finished:
            if self._failure is not None:
                raise self._failure
            await self.changed(self.snapshot())

    @property
    def unfinished(self) -> int:
        """How many items have no result that watchers may see."""
        return self.record.total - self._completions

    @property
    def running(self) -> int:
        """How many items are `executing`."""
        return len(self.executing)

    def start(self, item_index: int, log: ItemLog | None = None) -> None:
        """An item starts: it is seen to run from now on, and what is noted of it in `log`."""
        if self._started_at is None:
            self._started_at = self._latest = now(self._latest)
        self.executing[item_index] = log
        self.touch()

    def complete(self, result: ItemResult, steps: bytes | None = None) -> Completion:
        """An item has its result: give it a place; the last one ends the run. No time is before one that led to it."""
        if (result.completed_at or 0) < self.record.created_at:
            result = replace(result, completed_at=self.record.created_at)
        self._latest = max(self._latest, result.completed_at or 0)
        if self._started_at is None:
            self._started_at = result.completed_at
            self.touch()
        place = self._places
        self._places += 1
        self._failures += result.status is RunState.FAILED
        if self._places == self.record.total:
            state = RunState.FAILED if self._failures else RunState.SUCCESS
            success, ended_at = self.record.total - self._failures, now(self._latest)
            self.end = Outcome(state, success, self._failures, ended_at, started_at=self._started_at)
        return Completion(place, result, steps)

    def publish(self, completions: Sequence[Completion], outcome: Outcome | None = None) -> None:
        """These are durable: show them. Completions come in the order of their places."""
        failed = 0
        for completion in completions:
            result = completion.result
            self._done[result.item_index] = True
            self.executing.pop(result.item_index, None)
            failed += result.status is RunState.FAILED
            if self._recent is not None:
                self._remember(result, self._recent)
        self._failed += failed
        self._success += len(completions) - failed
        self._completions += len(completions)
        items_ended(len(completions) - failed, failed)
        if self.left is not None:
            self.left.value -= len(completions)
        self._outcome = outcome
        self._advance_prefix()
        self.touch()

    def snapshot(self) -> Snapshot:
        """The current state; the same object until it changes."""
        if self._snapshot is None:
            # Those of a cancelled run are not those of all items.
            whole = self._in_order and self._outcome is not None and self._completions == self.record.total
            results = self._recent if whole else None
            self._snapshot = Snapshot(
                self._status(), self._revision, self._completions, self._prefix, results, self._changed_at
            )
        return self._snapshot

    def recent(self, page: Page) -> list[ItemResult] | None:
        """The results of a page, if this run has kept all its results in memory."""
        return None if self._recent is None else of_page(self._recent, page)

    async def changed(self, since: Snapshot) -> None:
        """Wait until the state is no longer `since`, or for the next `touch`."""
        if self._snapshot is since:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()

    def touch(self) -> None:
        """Wake all watchers that wait for a change."""
        if self._snapshot is not None:
            self._snapshot = None
            self._changed_at = time.monotonic()
        self._revision += 1
        if self.mark is not None:
            self.mark.touch()
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _status(self) -> RunStatus:
        ended = self._outcome
        if ended is not None:
            items = statistics(self.record.total, 0, ended.success, ended.failed, ended.cancelled)
            return run_status(
                self.record, ended.status, items, None, ended, expires_at=self._expires_at(self.record, ended)
            )
        items = statistics(self.record.total, self.running, self._success, self._failed)
        state = RunState.PENDING if self._started_at is None else RunState.RUNNING
        return run_status(self.record, state, items, self._started_at, None)

    def _forget_unwritten(self) -> None:
        """Results that could not be kept are lost: their items have not finished."""
        self._failure = None
        self.end, self.cancelling = None, False
        self.executing.clear()
        self._places, self._failures = self._completions, self._failed

    def _advance_prefix(self) -> None:
        pending = self._done.find(0, self._prefix)
        self._prefix = self.record.total if pending < 0 else pending

    def _remember(self, result: ItemResult, recent: list[ItemResult]) -> None:
        self._recent_size += RESULT_BYTES + text_size(result)
        if self._recent_size > RECENT_BYTES or len(recent) == RESULT_PAGE_LENGTH:
            self._recent = None
        else:
            self._in_order = self._in_order and result.item_index == len(recent)
            recent.append(result)
