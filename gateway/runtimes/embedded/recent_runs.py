"""Finished runs that stay in memory beside the journal, so that they are read at once."""

from collections import OrderedDict
from typing import Final

from gateway.concurrency.memory_account import MemoryAccount
from gateway.runtimes.embedded.run import Run

RECENT_RUNS: Final = 1024
"""How many finished runs are kept at most."""

RECENT_FRACTION: Final = 1 / 16
"""The part of the account of memory that they may take."""


class RecentRuns:
    """The runs that have been put last, as many as there is room for; what they take in memory is counted."""

    def __init__(self, account: MemoryAccount) -> None:
        self._memory = account.part(RECENT_FRACTION)
        self._runs: OrderedDict[str, tuple[Run, int]] = OrderedDict()

    def get(self, run_id: str) -> Run | None:
        """The run with this id; None if it is not kept."""
        kept = self._runs.get(run_id)
        return None if kept is None else kept[0]

    def put(self, run: Run) -> None:
        """Keep a finished run, in place of the oldest ones."""
        run_id, size = run.record.run_id, run.size
        self.remove(run_id)
        self._runs[run_id] = run, size
        self._memory.add(size)
        while len(self._runs) > RECENT_RUNS or (not self._memory.fits(0) and len(self._runs) > 1):
            _, (_, oldest) = self._runs.popitem(last=False)
            self._memory.give_back(oldest)

    def remove(self, run_id: str) -> None:
        """Forget a run, if it is kept."""
        kept = self._runs.pop(run_id, None)
        if kept is not None:
            self._memory.give_back(kept[1])
