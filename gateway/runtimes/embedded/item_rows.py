"""Reading the items of runs that have results, with what is kept of their steps, from a SQLite table."""

import sqlite3
from collections.abc import Collection
from typing import Final

from gateway.core.model import RunState
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, text_size
from gateway.runtimes.embedded.journal import KeptItems
from gateway.runtimes.embedded.result_rows import RESULT_COLUMNS, WINDOW, result_of

_ITEMS: Final = f"SELECT {RESULT_COLUMNS}, steps FROM results WHERE item >= ? AND item < ? ORDER BY item"
_FAILED: Final = (
    f"SELECT {RESULT_COLUMNS}, steps FROM results INDEXED BY results_failed "
    "WHERE status = 'failed' AND item >= ? AND item < ? ORDER BY item"
)


def read_items(db: sqlite3.Connection, first: int, start: int, stop: int, states: Collection[RunState]) -> KeptItems:
    """Read items with `start <= item_index < stop`; `first` is the first row key of the run.

    Those that have failed are found by an index. For others, it looks at WINDOW items at most.
    """
    if RunState.SUCCESS in states:
        stop = min(stop, start + WINDOW)
        rows = db.execute(_ITEMS, (first + start, first + stop))
    else:
        rows = db.execute(_FAILED, (first + start, first + stop))
    items = []
    size = 0
    for *row, steps in rows:
        result = result_of(db, tuple(row), first)
        if result.status in states:
            items.append((result, steps))
            size += text_size(result) + len(steps or b"")
        if size >= RESULT_PAGE_BYTES or len(items) == RESULT_PAGE_LENGTH:
            return KeptItems(items, result.item_index + 1)
    return KeptItems(items, stop)
