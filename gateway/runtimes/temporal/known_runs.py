"""What is known of the runs of a set that may change: those that have not ended, or not long ago.

They are in a few buckets, and each bucket has a sum over the states of its runs. A follower whose sum is the same knows
the same states, whichever gateway has told it: so it is compared what it knows, and its token is short.
"""

import heapq
import zlib
from collections.abc import Generator
from hashlib import blake2b
from typing import Final, NamedTuple

from gateway.core.model import Nanoseconds, RunState, RunStatus
from gateway.runtimes.temporal.set_point import BUCKETS
from gateway.runtimes.temporal.visibility_query import MILLISECOND

KEPT_MS: Final = 120_000
"""For how long a run stays known that can change no more: for followers that come from other gateways."""

MOST_KEPT: Final = 32_768
"""How many such runs stay known at most."""

CLOSED_MS: Final = 15_000
"""How much later than its end the engine may close a run."""

MODULUS: Final = 1 << 32


class NotedRun(NamedTuple):
    """What was told last of a run, or would have been: it is `inside` the set, or outside. No `status`: it is deleted.

    `ended_at`, in milliseconds, is None while it may change. `mark` tells its state from others.
    """

    run_id: str
    created_at: Nanoseconds
    status: RunStatus | None
    revision: int
    inside: bool
    ended_at: int | None
    mark: int

    def counts(self, since: int) -> bool:
        """Whether it is in the sums of who has been told what had happened by a millisecond."""
        return self.ended_at is None or self.ended_at >= since


def noted(status: RunStatus, revision: int, *, inside: bool) -> NotedRun:
    """A run in a state."""
    ended_at = None if status.completed_at is None else status.completed_at // MILLISECOND
    mark = _mark(status.run_id, f"{status.status.value} {revision} {inside}")
    return NotedRun(status.run_id, status.created_at, status, revision, inside, ended_at, mark)


def noted_as_deleted(run_id: str, created_at: Nanoseconds, at: int) -> NotedRun:
    """A run that has been deleted, at a millisecond."""
    return NotedRun(run_id, created_at, None, 0, False, at, _mark(run_id, "deleted"))


def is_likely(run: NotedRun) -> bool:
    """Whether a run is open, and has not told yet how far it is: who was told of it knows more, or will be told."""
    return run.revision == 0 and run.status is not None and run.status.status is RunState.RUNNING


def bucket_of(run_id: str) -> int:
    """The bucket of a run."""
    return zlib.crc32(run_id.encode()) % BUCKETS


class KnownRuns:
    """See the module. All that has happened after the millisecond `since` counts in the sums.

    What has happened from the millisecond `covers` on is known; what had happened before, only of runs that are open.
    """

    def __init__(self) -> None:
        self.since = 0
        self.covers = 0
        self.sums = [0] * BUCKETS
        self._buckets: tuple[dict[str, NotedRun], ...] = tuple({} for _ in range(BUCKETS))
        self._counted: list[tuple[int, str]] = []
        self._kept: list[tuple[int, str]] = []

    def get(self, run_id: str) -> NotedRun | None:
        """What is known of a run."""
        return self._buckets[bucket_of(run_id)].get(run_id)

    def bucket(self, number: int) -> list[NotedRun]:
        """All runs in a bucket."""
        return list(self._buckets[number].values())

    def note(self, run: NotedRun) -> None:
        """Note the latest state of a run."""
        self.remove(run.run_id)
        number = bucket_of(run.run_id)
        self._buckets[number][run.run_id] = run
        if run.counts(self.since):
            self.sums[number] = (self.sums[number] + run.mark) % MODULUS
        if run.ended_at is not None:
            heapq.heappush(self._counted if run.counts(self.since) else self._kept, (run.ended_at, run.run_id))

    def remove(self, run_id: str) -> NotedRun | None:
        """Forget a run, and return what was known of it."""
        number = bucket_of(run_id)
        run = self._buckets[number].pop(run_id, None)
        if run is not None and run.counts(self.since):
            self.sums[number] = (self.sums[number] - run.mark) % MODULUS
        return run

    def begin(self, since: int) -> None:
        """Know what happens from a millisecond on."""
        self.since = self.covers = since

    def advance(self, since: int) -> Generator[None, None, None]:
        """Count no more what had happened by a millisecond, in steps; in time, forget it."""
        while self._counted and (moment := self._counted[0][0]) < since:
            while self._counted and self._counted[0][0] == moment:
                entry = heapq.heappop(self._counted)
                if (run := self._entered(entry)) is not None:
                    number = bucket_of(run.run_id)
                    self.sums[number] = (self.sums[number] - run.mark) % MODULUS
                    heapq.heappush(self._kept, entry)
            self.since = moment + 1
            yield
        self.since = max(self.since, since)
        while self._kept and (self._kept[0][0] < self.since - KEPT_MS or len(self._kept) > MOST_KEPT):
            entry = heapq.heappop(self._kept)
            if (run := self._entered(entry)) is not None:
                del self._buckets[bucket_of(run.run_id)][run.run_id]
                self.covers = max(self.covers, entry[0] + CLOSED_MS + 1)
            yield

    def _entered(self, entry: tuple[int, str]) -> NotedRun | None:
        run = self.get(entry[1])
        return run if run is not None and run.ended_at == entry[0] else None


def _mark(run_id: str, state: str) -> int:
    return int.from_bytes(blake2b(f"{run_id} {state}".encode(), digest_size=4).digest())
