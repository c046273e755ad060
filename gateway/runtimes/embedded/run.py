"""A run in memory: the states of its items, its snapshots, and the watchers that wait for a change."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache

from msgspec.structs import replace

from gateway.core.clock import now
from gateway.core.model import ItemResult, ItemStatistics, RunState, RunStatus
from gateway.core.runtime import RESULT_PAGE_LENGTH, Page, Snapshot, text_size
from gateway.runtimes.embedded.journal import Completion, FinishedItems, Outcome, RunRecord, of_page

RUN_BYTES = 4 << 10
"""What a run takes in memory besides its results."""

RESULT_BYTES = 256
"""What a result takes in memory besides its text."""

RECENT_BYTES = 1 << 18
"""How much memory results of a run may take, so that small runs are read without the journal."""

STATISTICS = 256
"""How many statistics are kept: those of small runs are nearly always the same."""

EPOCH_BITS = 40
"""Revisions count changes in these lower bits, and openings of the state above them, so they grow over restarts."""


class Run:
    """Counts the items of a run. All methods are called on the event loop.

    An item goes through `start`, unless nobody sees it run, `complete` (it gets its place in the order of completion,
    and the journal keeps it) and `publish` (it is durable, and watchers may see it).
    """

    def __init__(
        self, record: RunRecord, outcome: Outcome | None = None, *, epoch: int = 0, results: Sequence[ItemResult] = ()
    ) -> None:
        """Make a run that has just been accepted, or one that has ended; `results` holds all results, or none."""
        self.record = record
        self._latest = record.created_at
        self.held = 0
        """How many bytes of memory are counted for it."""
        # A run that is loaded after its end has the last revision of this epoch, which is larger than any before.
        self._revision = ((epoch + 1) << EPOCH_BITS) - 1 if outcome else epoch << EPOCH_BITS
        self._outcome = outcome
        self._done = bytearray(0 if outcome else record.total)
        self._prefix = record.total if outcome else 0
        self._running: set[int] = set()
        self._success = outcome.success if outcome else 0
        self._failed = outcome.failed if outcome else 0
        self._places = self._completions = record.total if outcome else 0
        self._failures = 0
        self._started = False
        self._recent: list[ItemResult] | None = list(results)
        self._recent_size = sum(map(text_size, results)) + RESULT_BYTES * len(results)
        self._in_order = True
        if self._recent_size > RECENT_BYTES or (outcome and len(results) < record.total):
            self._recent = None
        self._snapshot: Snapshot | None = None
        self._changed: asyncio.Event | None = None

    def restore(self, start: int, finished: FinishedItems) -> None:
        """Take over items that had finished before a restart; the first of `finished` has the index `start`."""
        done = finished.done
        number = done.count(1)
        self._done[start : start + len(done)] = done
        self._success += number - finished.failed
        self._failed += finished.failed
        self._failures = self._failed
        self._completions += number
        self._places = self._completions
        if number:
            self._started = True
            self._recent = None
        self._advance_prefix()

    @property
    def finished(self) -> bool:
        """Whether the run has ended, and watchers may see it."""
        return self._outcome is not None

    @property
    def size(self) -> int:
        """How much memory the run takes, in bytes."""
        return RUN_BYTES + (0 if self._recent is None else self._recent_size)

    @property
    def outcome(self) -> Outcome | None:
        """The end of the run; None while it executes."""
        return self._outcome

    def is_done(self, item_index: int) -> bool:
        """Whether an item has finished."""
        return self.finished or bool(self._done[item_index])

    def next_unfinished(self, item_index: int) -> int:
        """The first item from this one on that has not finished; the number of items if all have."""
        found = self._done.find(0, item_index)
        return self.record.total if found < 0 else found

    @property
    def running(self) -> int:
        """How many items have started, and have no result that watchers may see."""
        return len(self._running)

    def start(self, item_index: int) -> None:
        """An item starts: it is seen to run from now on."""
        self._started = True
        self._running.add(item_index)
        self.touch()

    def complete(self, result: ItemResult) -> Completion:
        """An item has its result: give it a place; the last one ends the run. No time is before one that led to it."""
        if (result.completed_at or 0) < self.record.created_at:
            result = replace(result, completed_at=self.record.created_at)
        self._latest = max(self._latest, result.completed_at or 0)
        if not self._started:
            self._started = True
            self.touch()
        place = self._places
        self._places += 1
        self._failures += result.status is RunState.FAILED
        outcome = None
        if self._places == self.record.total:
            state = RunState.FAILED if self._failures else RunState.SUCCESS
            outcome = Outcome(state, self.record.total - self._failures, self._failures, now(self._latest))
        return Completion(self.record.run_id, place, result, outcome)

    def publish(self, completions: Sequence[Completion]) -> None:
        """Completions are durable: show them. They are the next ones in the order of their places."""
        failed = 0
        for completion in completions:
            result = completion.result
            self._done[result.item_index] = True
            self._running.discard(result.item_index)
            failed += result.status is RunState.FAILED
            if self._recent is not None:
                self._remember(result, self._recent)
        self._failed += failed
        self._success += len(completions) - failed
        self._completions += len(completions)
        self._outcome = completions[-1].outcome
        self._advance_prefix()
        self.touch()

    def snapshot(self) -> Snapshot:
        """The current state; the same object until it changes."""
        if self._snapshot is None:
            results = self._recent if self._in_order and self._outcome else None
            self._snapshot = Snapshot(self._status(), self._revision, self._completions, self._prefix, results)
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
        self._snapshot = None
        self._revision += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _status(self) -> RunStatus:
        record, total = self.record, self.record.total
        ended = self._outcome
        state = ended.status if ended else RunState.RUNNING if self._started else RunState.PENDING
        items = _statistics(total, self.running, self._completions, self._success, self._failed)
        return RunStatus(
            run_id=record.run_id,
            flow_id=record.flow_id,
            flow_name=record.flow_name,
            flow_label=record.flow_label,
            status=state,
            items=items,
            created_at=record.created_at,
            completed_at=ended.completed_at if ended else None,
        )

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


@lru_cache(STATISTICS)
def _statistics(total: int, running: int, completions: int, success: int, failed: int) -> ItemStatistics:
    pending = total - running - completions
    return ItemStatistics(total=total, pending=pending, running=running, success=success, failed=failed)
