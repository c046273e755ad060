"""What this gateway knows of a run: how far it is, and where its results are.

Results keep their places in the order of completion for ever, so what is known stays true, and only more comes.
"""

import time
from bisect import bisect_left, bisect_right
from itertools import chain
from typing import Final

from gateway.core.model import ItemResult, RunState
from gateway.core.runtime import Snapshot
from gateway.flows.run_record import Outcome, RunRecord
from gateway.flows.run_status import run_status, statistics
from gateway.runtimes.temporal.kept_results import cancelled_results, told
from gateway.runtimes.temporal.messages import ResultsPart, RunEnd, RunReport, RunResult

AT_HAND: Final = 1_024
"""Up to how many results come with the last state of a run, if none of them is in an object."""


class RunView:
    """A run, as far as it is known. It begins as one that has been submitted, and nothing else is known."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.ended: RunEnd | None = None
        self.progress: RunReport | None = None
        self.parts: list[ResultsPart] = []
        self._places: list[int] = []
        """The place of the first result of each part."""
        self.looked = time.monotonic()
        """When the engine was last seen to have it."""
        self.seen = 0
        """How many results are known."""

    def snapshot(self) -> Snapshot:
        """The latest state that is known."""
        if self.ended is not None:
            return self._ended(self.ended)
        record, progress = self.record, self.progress
        if progress is None:
            items = statistics(record.total, 0, 0, 0, 0)
            return Snapshot(run_status(record, RunState.PENDING, items, None, None), 0, 0, 0)
        counts = progress.counts
        items = statistics(record.total, counts.running, counts.success, counts.failed, counts.cancelled)
        status = run_status(record, progress.state, items, progress.started_at, None)
        return Snapshot(status, progress.revision, progress.completions, progress.prefix)

    def advance(self, progress: RunReport) -> bool:
        """Note the answer of the engine; return whether it is news."""
        earlier = self.progress
        if self.ended is not None or (earlier is not None and progress.revision < earlier.revision):
            return False
        self.progress = progress
        self._add(progress.place, progress.parts)
        return earlier is None or progress.revision > earlier.revision

    def end(self, result: RunResult) -> None:
        """Note how the run has ended."""
        self.ended = result.ended
        self.forget_results()
        self._add(0, result.parts)

    def forget_results(self) -> None:
        """Where results are is to be asked for anew."""
        self._places.clear()
        self.parts.clear()
        self.seen = 0

    @property
    def knows_results(self) -> bool:
        """Whether the places of all results are known."""
        return self.seen == self.record.total

    def by_place(self, first: int, completions: int) -> list[tuple[int, ResultsPart]]:
        """The parts that hold results from the place `first` on, below `completions`, and their places."""
        low = max(0, bisect_right(self._places, first) - 1)
        high = bisect_left(self._places, completions)
        return list(zip(self._places[low:high], self.parts[low:high], strict=True))

    def with_items(self, low: int, high: int) -> list[tuple[int, ResultsPart]]:
        """The parts that may hold results of the items `low` to `high` - 1, and their places."""
        each = zip(self._places, self.parts, strict=True)
        return [(place, part) for place, part in each if part.low < high and low < part.high]

    def _add(self, place: int, parts: tuple[ResultsPart, ...]) -> None:
        while self._places and self._places[-1] >= place:
            self._places.pop()
            self.parts.pop()
        for part in parts:
            self._places.append(place)
            self.parts.append(part)
            place += part.count
        self.seen = place if parts else self.seen

    def _ended(self, ended: RunEnd) -> Snapshot:
        record, counts = self.record, ended.counts
        items = statistics(record.total, 0, counts.success, counts.failed, counts.cancelled)
        outcome = Outcome(
            ended.state,
            counts.success,
            counts.failed,
            ended.completed_at,
            counts.cancelled,
            ended.started_at,
            ended.cancel_reason,
        )
        status = run_status(record, ended.state, items, None, outcome)
        return Snapshot(status, ended.revision, record.total, record.total, self._at_hand())

    def _at_hand(self) -> list[ItemResult] | None:
        """All results by index, if they are few and none is in an object."""
        if not self.knows_results or self.record.total > AT_HAND or any(part.key is not None for part in self.parts):
            return None
        each = (
            cancelled_results(part, part.low, part.high) if part.results is None else map(told, part.results)
            for part in self.parts
        )
        return sorted(chain.from_iterable(each), key=lambda result: result.item_index)
