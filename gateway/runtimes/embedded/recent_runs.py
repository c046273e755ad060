"""Finished runs that stay in memory beside the journal, so that they are read at once."""

from collections import OrderedDict
from typing import Final

from gateway.concurrency.memory_account import MemoryAccount
from gateway.runtimes.embedded.ended_run import EndedRun

RECENT_RUNS: Final = 1024
"""How many finished runs are kept at most."""

RECENT_FRACTION: Final = 1 / 16
"""The part of the account of memory that they may take."""


class RecentRuns:
    """The runs that have been put last, as many as there is room for; what they take in memory is counted."""

    def __init__(self, account: MemoryAccount) -> None:
        self._memory = account.part(RECENT_FRACTION, "recent_runs")
        self._runs: OrderedDict[str, EndedRun] = OrderedDict()

    def get(self, run_id: str) -> EndedRun | None:
        """The run with this id; None if it is not kept."""
        return self._runs.get(run_id)

    def put(self, run: EndedRun) -> None:
        """Keep a run, in place of the oldest ones."""
        runs, memory, run_id = self._runs, self._memory, run.record.run_id
        if run_id in runs:
            self.remove(run_id)
        runs[run_id] = run
        # Each submit passes here: the usual case, one in and one out of the same size, changes nothing.
        change = run.size
        if len(runs) > RECENT_RUNS:
            change -= runs.popitem(last=False)[1].size
        if change:
            memory.add(change)
            while memory.held > memory.limit and len(runs) > 1:
                memory.give_back(runs.popitem(last=False)[1].size)

    def remove(self, run_id: str) -> None:
        """Forget a run, if it is kept."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            self._memory.give_back(run.size)
