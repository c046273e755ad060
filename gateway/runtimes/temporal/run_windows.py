"""Reads runs in the order of their creation, though the engine sorts them in another one.

It reads windows of time, one after the other, each with few enough runs to be sorted here. How many there are in a
window is counted before, and tells how wide the next one is.
"""

from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from gateway.core.run_filter import RunOrder
from gateway.runtimes.temporal.visibility_query import created_between
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns

FIRST_WIDTH: Final = 60_000
"""How wide the first window is, in milliseconds."""

MOST: Final = 256
FEW: Final = 64
"""A window with more runs is halved, unless it is a single millisecond; after one with fewer comes a wider one."""

_WIDER: Final = 8


class RunWindow(NamedTuple):
    """The runs created from the millisecond `low` on, before `high`. `width` is that of the next window."""

    low: int
    high: int
    width: int
    runs: list[VisibleRun]


async def run_windows(
    visible: VisibleRuns, query: str, low: int, high: int, *, order: RunOrder, width: int = FIRST_WIDTH
) -> AsyncGenerator[RunWindow, None]:
    """Yield the windows between two milliseconds in an order, also empty ones; their runs are in no order."""
    newest = order is RunOrder.NEWEST_FIRST
    full: tuple[int, int] | None = None
    while low < high:
        start, stop = (max(low, high - width), high) if newest else (low, min(high, low + width))
        # The half of a full window whose other half is empty need not be counted.
        count = (
            MOST + 1 if (start, stop) == full else await visible.count(f"{query} AND {created_between(start, stop)}")
        )
        if count > MOST and stop - start > 1:
            full = (start, stop)
            width = (stop - start) // 2
        elif count:
            runs = [run async for page in visible.all(f"{query} AND {created_between(start, stop)}") for run in page]
            width = width * _WIDER if count < FEW else width
            yield RunWindow(start, stop, width, runs)
            low, high = (low, start) if newest else (stop, high)
        else:
            if full is not None and full[0] <= start and stop <= full[1]:
                full = (full[0], start) if newest else (stop, full[1])
                width = full[1] - full[0]
            else:
                width *= _WIDER
            yield RunWindow(start, stop, width, [])
            low, high = (low, start) if newest else (stop, high)
