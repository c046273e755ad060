"""The changes of the runs of a state, in their order: a log that holds each run once, at its last change.

Every change takes a number of the clock of the state (`run_ids.RUN_IDS`). The number of a run that executes stands
in its mark; that of a run that has ended, or is deleted, in the journal. Writes become durable together, and not in
the order of their numbers. So a number counts when all smaller ones that are being written are settled: `stable` is the
last one that does. Who reads up to there, in order, skips nothing and reads nothing twice.

While somebody follows a set, the latest changes are also kept in memory, in their order.
"""

import asyncio
import secrets
import time
from bisect import bisect_right, insort
from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from gateway.concurrency.batches import call_in_batches
from gateway.core.errors import shutting_down
from gateway.flows.run_ids import RUN_IDS

if TYPE_CHECKING:
    from gateway.runtimes.embedded.changes import Tombstone
    from gateway.runtimes.embedded.run import Run

KEPT_CHANGES: Final = 16_384
"""How many changes are kept in memory at least, once there have been so many."""

DROPPED: Final = 1_024
"""How many of the oldest ones are dropped together."""

_RANDOM_BITS: Final = 32


class RunMark:
    """Where a run stands in the log.

    `number` is that of its last change: 0 until anybody may see the run. `added` and `started` are those at which it
    was accepted and began to run; 0 if it had been accepted before this opening, or has not begun. `run` is None if it
    is not in memory, or has ended; `tombstone` is left of one that is deleted.
    """

    __slots__ = ("_log", "added", "number", "run", "run_id", "started", "tombstone")

    def __init__(
        self, log: "ChangeLog", run_id: str, run: "Run | None" = None, tombstone: "Tombstone | None" = None
    ) -> None:
        self._log = log
        self.run_id = run_id
        self.run = run
        self.tombstone = tombstone
        self.number = self.added = self.started = 0

    def touch(self) -> None:
        """The run has changed."""
        if self.run is None or self.run.finished:
            return  # `settle` gives it the number that the journal has.
        self.number = number = self._log.tick(self)
        if not self.started and self.run.has_started:
            self.started = number


class ChangeLog:
    """The changes of one state, since it was opened.

    `era` tells this opening from all others, and grows. `opened` is the number of the opening: that of each run which
    had not ended before and has not changed since. It is larger than all numbers that the state keeps, not than all
    that were taken: runs that executed have changed since. `eras` has the numbers of earlier openings, by their eras.
    """

    def __init__(self, epoch: int = 0, eras: Mapping[int, int] | None = None) -> None:
        self.opened = RUN_IDS.tick()
        # Of a state in memory, there is one opening: that of another process must not look like it.
        self.era = (epoch or int(time.time())) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        self._eras = sorted((eras or {}).items())
        self.marks: dict[str, RunMark] = {}
        """Those of the runs in memory that have not ended."""
        self.kept_after: int | None = None
        """All changes with larger numbers are kept in memory; None if nobody follows a set."""
        self._followers = 0
        self._writing: dict[int, RunMark | None] = {}
        self._numbers: list[int] = []
        self._changed: list[RunMark] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._waking = False
        self._stopped = False

    @property
    def head(self) -> int:
        """The number of the last change."""
        return RUN_IDS.last

    @property
    def stable(self) -> int:
        """All changes up to this number are settled."""
        return min(self._writing) - 1 if self._writing else RUN_IDS.last

    def bound(self, era: int) -> int | None:
        """A number that no change of an opening exceeds that the state keeps; None if the opening is not known."""
        if era == self.era:
            return RUN_IDS.last
        place = bisect_right(self._eras, (era, 1 << 62))
        if not place or self._eras[place - 1][0] != era:
            return None
        return self._eras[place][1] if place < len(self._eras) else self.opened

    def tick(self, mark: RunMark) -> int:
        """Take the number of a change that is seen at once."""
        number = RUN_IDS.tick()
        if self.kept_after is not None:
            self._keep(number, mark)
        return number

    def accept(self, run: "Run") -> None:
        """A run is durable, and executes from now on."""
        run.mark = mark = self.marks[run.record.run_id] = RunMark(self, run.record.run_id, run)
        mark.number = mark.added = self.tick(mark)

    def restore(self, run: "Run") -> None:
        """A run that had not ended when the state was opened is in memory again."""
        run.mark = mark = self.marks[run.record.run_id] = RunMark(self, run.record.run_id, run)
        mark.number = self.opened

    def end(self, run: "Run") -> None:
        """A run has ended, and leaves the memory."""
        self.marks.pop(run.record.run_id, None)
        if run.mark is not None:
            run.mark.run = None

    def begin(self, run_id: str, number: int = 0) -> int:
        """The end of a run is about to be written, with this number, or with the next one. Returns the number.

        `settle` must follow, or `abandon` if it is certain that nothing was written.
        """
        number = number or RUN_IDS.tick()
        mark = self.marks.get(run_id)
        if self.kept_after is not None:
            mark = mark or RunMark(self, run_id)
            self._keep(number, mark)
        # A run that is not in memory has no mark, but for those who follow a set.
        self._writing[number] = mark
        return number

    def begin_removal(self, tombstone: "Tombstone") -> int:
        """Likewise for a run that is about to be deleted."""
        number = RUN_IDS.tick()
        self._writing[number] = mark = RunMark(self, tombstone.run_id, tombstone=tombstone)
        if self.kept_after is not None:
            self._keep(number, mark)
        return number

    def settle(self, number: int) -> None:
        """The change is durable, and is seen from now on."""
        mark = self._writing.pop(number)
        if mark is not None:
            mark.number = number
        if self._waiters:
            self._wake_later()

    def abandon(self, number: int) -> None:
        """Nothing was written."""
        del self._writing[number]
        self._wake_later()

    def follow(self) -> None:
        """Keep changes in memory from now on, until `leave`."""
        self._followers += 1
        if self.kept_after is None:
            self.kept_after = RUN_IDS.last

    def leave(self) -> None:
        """One follower less."""
        self._followers -= 1
        if not self._followers:
            self.kept_after = None
            self._numbers.clear()
            self._changed.clear()

    def after(self, number: int, limit: int) -> list[tuple[int, RunMark]]:
        """Kept changes after a number, in their order; those that were followed by others have another number now."""
        first = bisect_right(self._numbers, number)
        stop = first + limit
        return list(zip(self._numbers[first:stop], islice(self._changed, first, stop), strict=True))

    async def changed(self, number: int) -> int:
        """Wait until changes after this number are settled. Returns the last one that is.

        Raises Unavailable after `stop`.
        """
        while (stable := self.stable) <= number or self._stopped:
            if self._stopped:
                raise shutting_down()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return stable

    def stop(self) -> None:
        """End all waiting with Unavailable."""
        self._stopped = True
        self._wake_later()

    def _keep(self, number: int, mark: RunMark) -> None:
        if self._numbers and number < self._numbers[-1]:
            insort(self._numbers, number)
            self._changed.insert(bisect_right(self._numbers, number) - 1, mark)
        else:
            self._numbers.append(number)
            self._changed.append(mark)
        if len(self._numbers) >= KEPT_CHANGES + DROPPED:
            self.kept_after = self._numbers[DROPPED - 1]
            del self._numbers[:DROPPED], self._changed[:DROPPED]
        if self._waiters and not self._waking:
            self._wake_later()

    def _wake_later(self) -> None:
        if self._waiters and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        waiters, self._waiters = self._waiters, []
        call_in_batches(partial(_resolve, waiter) for waiter in waiters)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
