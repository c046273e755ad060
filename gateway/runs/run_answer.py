"""The answer to a single call: a run at one moment, with results that are read while they are passed on."""

from msgspec import Struct

from gateway.core.model import ItemResult, ResultOrder, RunStatus
from gateway.core.position import STARTS
from gateway.core.runtime import Runtime, Snapshot


class ResultPages:
    """All results that a run has at one moment, read a page at a time. `at_hand` has them all if none is to be read."""

    __slots__ = ("_left", "_position", "_runtime", "_snapshot", "at_hand")

    def __init__(self, runtime: Runtime, snapshot: Snapshot, order: ResultOrder) -> None:
        self._runtime = runtime
        self._snapshot = snapshot
        self._left = snapshot.completions
        self.at_hand = snapshot.results if order is ResultOrder.BY_INDEX else None
        self._position = STARTS[order]

    @property
    def ended(self) -> bool:
        """Whether no page follows."""
        if self._left > 0 and not self.at_hand:
            return self._position.missing(self._snapshot, last=True) is None
        return self._left <= 0

    async def next(self) -> list[ItemResult]:
        """The next page; an empty one at the end."""
        results, self.at_hand = list(self.at_hand or ()), None
        while not results and self._left > 0:
            page = self._position.missing(self._snapshot, last=True)
            if page is None:
                break
            results = await self._runtime.results(self._snapshot.status.run_id, page)
            self._position = self._position.after(page, results, self._snapshot)
        self._left -= len(results)
        return results


class RunAnswer(Struct, frozen=True, gc=False):
    """The status of a run, without results, and its results if they were asked for."""

    status: RunStatus
    results: ResultPages | None
