"""The ends of runs in memory, and the runs that were deleted or forgotten, in the order of their changes."""

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.changes import Change, Changes, Removal

READ_TOGETHER: Final = 64
"""How many changes are read at once."""

LOOKED_AT: Final = 256
"""How many runs are looked at for them: some may be gone."""

MAX_TOMBSTONES: Final = 10_000
"""How many deleted runs of a namespace are remembered: who has been away for longer begins anew."""


class MemoryChanges:
    """`find` returns a run that has ended; None if it is gone."""

    def __init__(self, find: Callable[[str], tuple[RunRecord, Outcome] | None]) -> None:
        self._find = find
        self._ends: deque[tuple[int, str]] = deque()
        self._removals: deque[Removal] = deque()
        self._numbers: dict[str, deque[int]] = defaultdict(deque)
        self._forgotten: dict[str, int] = {}

    def forgotten(self, namespace: str | None) -> int:
        """The number of the last deleted run of a namespace, or of any, that is remembered no more."""
        if namespace is None:
            return max(self._forgotten.values(), default=0)
        return self._forgotten.get(namespace, 0)

    def end(self, number: int, run_id: str) -> None:
        """A run has ended; numbers grow."""
        self._ends.append((number, run_id))

    @property
    def oldest(self) -> str | None:
        """The run that has ended first of those that are kept."""
        return self._ends[0][1] if self._ends else None

    def remove(self, removal: Removal) -> None:
        """A run is gone; numbers grow."""
        self._removals.append(removal)
        numbers = self._numbers[namespace := removal.tombstone.namespace]
        numbers.append(removal.number)
        if len(numbers) > MAX_TOMBSTONES:
            self._forgotten[namespace] = oldest = numbers.popleft()
            del self._removals[bisect_left(self._removals, oldest, key=_number)]
        while self._ends and self._find(self._ends[0][1]) is None:
            self._ends.popleft()

    def read(self, after: int, until: int) -> Changes:
        """The first changes between two numbers."""
        # A deque finds a place in its middle by blocks: some microseconds for a million entries.
        place = bisect_right(self._ends, (after, "~"))
        stop = min(place + LOOKED_AT, bisect_right(self._ends, (until, "~")))
        more = stop - place == LOOKED_AT
        if more:
            until = self._ends[stop - 1][0]
        changes: list[Change] = []
        for each in range(place, stop):
            number, run_id = self._ends[each]
            if (found := self._find(run_id)) is not None:
                changes.append(Change(number, found))
        place = bisect_right(self._removals, after, key=_number)
        stop = min(place + READ_TOGETHER, bisect_right(self._removals, until, key=_number))
        changes += [Change(*self._removals[each]) for each in range(place, stop)]
        changes.sort(key=_number)
        if len(changes) < READ_TOGETHER:
            return Changes(changes, until, more)
        return Changes(changes[:READ_TOGETHER], changes[READ_TOGETHER - 1].number, True)


def _number(change: Change | Removal) -> int:
    return change.number
