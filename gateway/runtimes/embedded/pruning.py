"""Lets runs and blobs go that are not to be kept, in the background, a few at a time."""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from gateway.concurrency.tasks import create_shared_task
from gateway.core.clock import now
from gateway.core.errors import Unavailable
from gateway.core.internal_errors import report_unexpected
from gateway.flows.run_ids import key_of
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.blob_uses import BlobUses
from gateway.runtimes.embedded.changes import Change, Tombstone
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.run_keys import key_at
from gateway.telemetry.gateway_metrics import RETENTION_BLOBS, RETENTION_PASS, RETENTION_RUNS

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks whether anything is to go."""

PAUSE_SECONDS: Final = 0.002
"""Seconds between two steps while something is: each takes some milliseconds of the journal."""

READS_TOGETHER: Final = 8
"""How often the log is read in one step to count runs."""

REMOVALS_TOGETHER: Final = 2
"""How often the log is read in one step to find runs that are to go."""

BLOB_SECONDS: Final = 60.0
"""Seconds between two looks at blobs."""

BLOBS_TOGETHER: Final = 16
"""How many blobs go in one step."""

EndedRecord: TypeAlias = tuple[RunRecord, Outcome]


class Pruning:
    """Deletes what the rules let go. `delete` deletes runs that have ended.

    Runs are looked at in the order of their ends: the log of changes has it. Each rule goes through the log once, up to
    the ends that are as long ago as it keeps runs, and goes on from there. The number of runs that no rule concerns is
    counted in the same way.
    """

    def __init__(
        self,
        journal: Journal,
        uses: BlobUses,
        delete: Callable[[Sequence[EndedRecord]], Awaitable[int]],
    ) -> None:
        self._journal = journal
        self._uses = uses
        self._delete = delete
        self._reached: dict[int, int] = defaultdict(int)
        self._counted = self._begun = self._until = 0
        self._numbers: Counter[str] = Counter()
        self._oldest: Counter[str] = Counter()
        self._subtracted: set[str] = set()
        """Runs that have been deleted here, and whose tombstones have not been read."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if there is anything to do."""
        if not (self._journal.retention.keeps_all_runs and self._journal.retention.keep_blobs is None):
            self._task = create_shared_task(self._run())

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def prune_all(self) -> int:
        """Let everything go that is not to be kept now. Return how many blobs that were."""
        while await self.step():
            pass
        return await self.prune_blobs()

    async def step(self) -> bool:
        """Let some runs go. Return whether more may be to go."""
        more = False
        for number, keep in self._journal.retention.times.items():
            more |= await self._expire(number, keep)
        if self._journal.retention.keep_runs is not None:
            more |= await self._count()
            more |= await self._remove_beyond(self._journal.retention.keep_runs)
        return more | await self._journal.upkeep.give_back()

    async def prune_blobs(self) -> int:
        """Let blobs go that nothing refers to. Return how many."""
        keep = self._journal.retention.keep_blobs
        if keep is None:
            return 0
        await self._uses.keep()
        number, rest = 0, ""
        while True:
            idle, after = await self._journal.upkeep.idle_blobs(rest, now() - round(keep * 1e9))
            for start in range(0, len(idle), BLOBS_TOGETHER):
                gone = await self._uses.let_go(idle[start : start + BLOBS_TOGETHER])
                RETENTION_BLOBS.inc(by=gone)
                number += gone
                await asyncio.sleep(PAUSE_SECONDS)
            if after is None:
                return number
            rest = after

    async def _run(self) -> None:
        blobs_at = time.monotonic() + LOOK_SECONDS
        # If nothing ever goes, that is to be seen as well.
        RETENTION_PASS.labels().value = time.time()
        while True:
            more = False
            try:
                more = await self.step()
                if time.monotonic() >= blobs_at:
                    await self.prune_blobs()
                    blobs_at = time.monotonic() + BLOB_SECONDS
                if not more:
                    RETENTION_PASS.labels().value = time.time()
            except Unavailable as error:
                self._begin_anew()
                _log.warning("what is not to be kept stays in the state for now: %s", error.message)
            except Exception as error:
                report_unexpected(error)
            await asyncio.sleep(PAUSE_SECONDS if more else LOOK_SECONDS)

    async def _expire(self, number: int, keep: float) -> bool:
        """Delete runs whose time has passed, of one rule."""
        until = min(key_at(max(0, now() - round(keep * 1e9))), self._journal.changes.stable)
        if until <= self._reached[number]:
            return False
        changes, reached, more = await self._journal.read_changes(self._reached[number], until)
        await self._delete_some([run for change in changes if (run := self._concerned(change, number)) is not None])
        self._reached[number] = reached
        return more

    async def _count(self) -> bool:
        """Count runs that no rule concerns, up to the present."""
        if self._journal.forgotten(None) > self._counted and (self._begun or self._counted >= self._until > 0):
            # Tombstones are gone that have not been read.
            self._begin_anew()
        if self._counted >= self._until:
            self._begun, self._until = self._counted, self._journal.changes.stable
        for _ in range(READS_TOGETHER):
            if self._counted >= self._until:
                break
            changes, reached, _ = await self._journal.read_changes(self._counted, self._until)
            for change in changes:
                if isinstance(change.run, Tombstone):
                    if change.run.run_id in self._subtracted:
                        self._subtracted.discard(change.run.run_id)
                    else:
                        self._numbers[change.run.namespace] -= self._was_counted(change.run)
                elif (run := self._concerned(change, len(self._journal.retention.rules))) is not None:
                    self._numbers[run[0].namespace] += 1
            self._counted = reached
        return self._counted < self._until

    def _begin_anew(self) -> None:
        """Count all runs again."""
        self._counted = self._begun = self._until = 0
        self._numbers.clear()
        self._oldest.clear()
        self._subtracted.clear()

    async def _remove_beyond(self, keep_runs: int) -> bool:
        """Delete the runs of each namespace that ended first, until so many are left as are kept."""
        more = False
        for namespace, number in list(self._numbers.items()):
            if number > keep_runs:
                more |= await self._remove_oldest(namespace, number - keep_runs)
        return more

    async def _remove_oldest(self, namespace: str, excess: int) -> bool:
        some: list[EndedRecord] = []
        for _ in range(REMOVALS_TOGETHER):
            if len(some) < excess and self._oldest[namespace] < self._counted:
                changes, reached, _ = await self._journal.read_changes(self._oldest[namespace], self._counted)
                rest = excess - len(some)
                chosen = self._of_namespace(changes, namespace)[:rest]
                some += (change.run for change in chosen if not isinstance(change.run, Tombstone))
                self._oldest[namespace] = chosen[-1].number if len(chosen) == rest else reached
        self._numbers[namespace] -= len(some)
        self._subtracted.update(record.run_id for record, _ in some)
        await self._delete_some(some)
        return bool(some) or self._oldest[namespace] < self._counted

    def _of_namespace(self, changes: Sequence[Change], namespace: str) -> list[Change]:
        """The changes that are ends of runs of a namespace that no rule concerns."""
        number = len(self._journal.retention.rules)
        runs = [(change, self._concerned(change, number)) for change in changes]
        return [change for change, run in runs if run is not None and run[0].namespace == namespace]

    async def _delete_some(self, runs: Sequence[EndedRecord]) -> None:
        if runs:
            RETENTION_RUNS.inc(by=await self._delete(runs))

    def _concerned(self, change: Change, number: int) -> EndedRecord | None:
        """The run of a change, if it exists and this rule concerns it."""
        if isinstance(change.run, Tombstone):
            return None
        record, outcome = change.run
        rule = self._journal.retention.rule_of(record.flow_label, record.labels, outcome.status, record.namespace)
        return change.run if rule == number else None

    def _was_counted(self, gone: Tombstone) -> bool:
        ended = gone.ended or key_of(gone.run_id) or 0
        rules = self._journal.retention.rules
        # If its labels are not known, the number is a little too small: some runs more are kept.
        return ended <= self._begun and self._journal.retention.rule_of(
            gone.flow_label, gone.labels, gone.state, gone.namespace
        ) == len(rules)
