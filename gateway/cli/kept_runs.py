"""The runs of a set that is followed, as many as a command keeps: a set may have millions."""

import threading
from collections import Counter
from heapq import nsmallest
from typing import TYPE_CHECKING, NamedTuple

from gateway.cli.sort_keys import SortKey, place_of_run
from gateway.client import CaughtUp, RunSet, RunSetEvent

if TYPE_CHECKING:
    from gateway.client import RunState, RunStatus


class SeenRuns(NamedTuple):
    """Some of the runs, and what there is of all of them. `dropped`: there are more than are kept."""

    runs: "list[RunStatus]"
    number: int
    states: "Counter[RunState]"
    complete: bool
    dropped: bool


class KeptRuns:
    """The newest runs of a set, `kept` of them at least. One thread adds events, and others look."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._set = RunSet()
        self._complete = False
        self._dropped = False
        self._lock = threading.Lock()

    def add(self, event: RunSetEvent) -> None:
        """Keep what an event has changed."""
        with self._lock:
            self._complete |= isinstance(event, CaughtUp)
            if event.restarted:
                self._complete, self._dropped = isinstance(event, CaughtUp), False
            self._set.add(event)
            if len(self._set.runs) > 2 * self._kept:
                self._dropped = True
                self._set.runs = {run.run_id: run for run in self._first(self._kept, SortKey.NEWEST)}

    def seen(self, number: int, skipped: int = 0, key: SortKey = SortKey.NEWEST) -> SeenRuns:
        """So many runs, after those that are skipped, in the order of the key."""
        with self._lock:
            runs = self._set.runs
            first = self._first(skipped + number, key)[skipped:]
            states = Counter(run.status for run in runs.values())
            return SeenRuns(first, len(runs), states, self._complete, self._dropped)

    def _first(self, number: int, key: SortKey) -> "list[RunStatus]":
        return nsmallest(number, self._set.runs.values(), key=place_of_run(key))
