"""How fast the items of flows have been executed here: runs begin with chunks that fit."""

from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache

FLOWS: Final = 1_000
"""Of how many flows the pace is remembered."""

_RISE: Final = 2.0
"""How much faster one chunk makes a pace at most. It falls at once: a slow item holds up those behind it."""


class FlowPaces:
    """The items a second of the flows that were executed last, one item after the other."""

    def __init__(self) -> None:
        self._paces: BoundedCache[str, float] = BoundedCache(FLOWS)

    def note(self, flow_id: str, count: int, seconds: float) -> None:
        """Items of a flow have been executed, in so many seconds."""
        pace = count / max(seconds, 0.0001)
        earlier = self._paces.get(flow_id)
        self._paces.put(flow_id, pace if earlier is None else min(pace, earlier * _RISE))

    def of(self, flow_id: str) -> float:
        """The pace of a flow; 0.0 if none is known."""
        return self._paces.use(flow_id) or 0.0
