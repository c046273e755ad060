"""The answer to a single call: a run at one moment, with results that are read while they are passed on."""

from typing import NamedTuple

from gateway.core.model import ItemResult, ResultOrder, RunStatus
from gateway.core.position import Position
from gateway.core.runtime import Runtime, Snapshot


class ResultPages:
    """All results that a run has at one moment, read a page at a time."""

    __slots__ = ("_at_hand", "_left", "_position", "_runtime", "_snapshot")

    def __init__(self, runtime: Runtime, snapshot: Snapshot, order: ResultOrder) -> None:
        self._runtime = runtime
        self._snapshot = snapshot
        self._position = Position(order)
        self._at_hand = list(snapshot.results or ()) if order is ResultOrder.BY_INDEX else []
        self._left = snapshot.completions

    @property
    def ended(self) -> bool:
        """Whether no page follows."""
        return self._left <= 0 or (not self._at_hand and self._position.missing(self._snapshot, last=True) is None)

    async def next(self) -> list[ItemResult]:
        """The next page; an empty one at the end."""
        results, self._at_hand = self._at_hand, []
        while not results and self._left > 0:
            page = self._position.missing(self._snapshot, last=True)
            if page is None:
                break
            results = await self._runtime.results(self._snapshot.status.run_id, page)
            self._position = self._position.after(page, results, self._snapshot)
        self._left -= len(results)
        return results


class RunAnswer(NamedTuple):
    """The status of a run, without results, and its results if they were asked for."""

    status: RunStatus
    results: ResultPages | None
