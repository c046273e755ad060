"""The runs in memory: those that have not ended, and those that have ended lately."""

import asyncio
from collections.abc import Iterable

from gateway.core.runtime import Snapshot
from gateway.flows.nesting import Nesting
from gateway.runtimes.embedded.ancestors import KnownRun
from gateway.runtimes.embedded.deadlines import Deadlines
from gateway.runtimes.embedded.ended_run import EndedRun
from gateway.runtimes.embedded.family_tree import FamilyTree
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.recent_runs import RecentRuns
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.run_counts import run_ended
from gateway.telemetry.metrics import Cell


class RunsInMemory:
    """Finds runs by their ids. A run that comes or ends does so for its family as well.

    `active` are those that have not ended, `accepting` the tasks of those among them that are not durable yet.
    """

    def __init__(
        self, journal: Journal, recent: RecentRuns, nesting: Nesting, tree: FamilyTree, deadlines: Deadlines
    ) -> None:
        self.active: dict[str, Run] = {}
        self.accepting: dict[str, asyncio.Task[Snapshot]] = {}
        self.recent = recent
        self.left = Cell()
        """How many items of the active runs have not ended."""
        self.removals = 0
        """How often runs have been deleted: who has read one before must look again."""
        self._journal = journal
        self._nesting = nesting
        self._tree = tree
        self._deadlines = deadlines

    def get(self, run_id: str) -> Run | EndedRun | None:
        """The run with this id; None if it is not in memory."""
        return self.active.get(run_id) or self.recent.get(run_id)

    def keep(self, run: Run | EndedRun) -> None:
        """A run has come."""
        if isinstance(run, EndedRun):
            self.recent.put(run)
        else:
            self.active[run.record.run_id] = run
            run.left = self.left
            run.left.value += run.unfinished
            if run.record.deadline is not None:
                self._deadlines.add(run.record)

    def drop(self, run: Run | EndedRun) -> None:
        """A run has not come to be."""
        self.recent.remove(run.record.run_id)
        active = self.active.pop(run.record.run_id, None)
        if active is not None:
            self._leave(active)

    def end(self, run: Run) -> None:
        """A run has ended."""
        self._journal.changes.end(run)
        self.active.pop(run.record.run_id, None)
        self._leave(run)
        if run.end is not None:
            run_ended(run.end)
        self.recent.put(run.ended())

    def forget(self, run_ids: Iterable[str]) -> None:
        """Runs that had ended have been deleted."""
        self.removals += 1
        for run_id in run_ids:
            self.recent.remove(run_id)

    async def known(self, run_id: str) -> KnownRun | None:
        """A run, without bringing it back into memory; None if it is not kept."""
        if (active := self.active.get(run_id)) is not None:
            return KnownRun(active.record, None)
        if (recent := self.recent.get(run_id)) is not None:
            return KnownRun(recent.record, recent.last.status.status)
        if (kept := await self._journal.load(run_id)) is None:
            return None
        return KnownRun(kept[0], None if kept[1] is None else kept[1].status)

    def _leave(self, run: Run) -> None:
        record = run.record
        run.left, self.left.value = None, self.left.value - run.unfinished
        self._tree.leave(record.run_id)
        if record.deadline is not None:
            self._deadlines.discard(record)
        if record.root_id is not None:
            self._nesting.give_back(record.root_id, record.total, run.held)
