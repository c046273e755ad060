"""The results of runs as rows of a SQLite table, and reading them: each read looks at a bounded number of rows.

A result has two keys, one with its place in the order of completion and one with its item_index. A page bounds both,
and its position may come from a client that has made it up. So a read looks at the rows in a window of one of the keys,
at most one row for each key in it, and the next read goes on after the window if none of them was of the page.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from gateway.core.model import ItemError, ItemResult, ResultOrder, RunState
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, text_size
from gateway.runtimes.embedded.journal import Completion
from gateway.storage.long_texts import TextColumn, is_long
from gateway.storage.sqlite_file import insert_rows

RESULTS_TABLE: Final = """
CREATE TABLE results (
    place INTEGER PRIMARY KEY, item INTEGER NOT NULL UNIQUE, status TEXT NOT NULL, value TEXT, error_code INTEGER,
    error_message TEXT, error_data TEXT, completed_at INTEGER NOT NULL, steps BLOB
);
"""

FAILED_INDEX: Final = "CREATE INDEX results_failed ON results (item) WHERE status = 'failed';"
"""Failed items are looked for, and few."""

WINDOW: Final = 4_096
"""How many rows a read looks at, besides those that it returns: less than a millisecond."""

_SUCCESS: Final = RunState.SUCCESS.value
_STATES: Final = {state.value: state for state in RunState}
_OTHERS = ("place", "item", "status", "error_code", "error_message", "error_data", "completed_at", "steps")
_VALUE: Final = TextColumn("results", "value", _OTHERS)
RESULT_COLUMNS: Final = f"item, status, {_VALUE.short}, completed_at, place, error_code, error_message, error_data"
# A unary plus keeps SQLite from choosing the index of that column.
_SELECT = f"SELECT {RESULT_COLUMNS} FROM results"
_BY_PLACE = f"{_SELECT} WHERE place >= ? AND place < ? AND +item >= ? AND +item < ? ORDER BY place"
_BY_ITEM = f"{_SELECT} WHERE item >= ? AND item < ? AND +place >= ? AND +place < ? ORDER BY item"
_PLACES_BY_ITEM = (
    "SELECT place FROM results WHERE place >= ? AND place < ? AND +item >= ? AND +item < ? ORDER BY +item LIMIT ?"
)
_AT_PLACE = f"{_SELECT} WHERE place = ?"


class PartOfPage(NamedTuple):
    """Results of a page, and if there were none in the window: the part of the page after it, if any is left."""

    results: list[ItemResult]
    rest: Page | None = None


def insert_results(db: sqlite3.Connection, results: Iterable[tuple[int, Completion]]) -> None:
    """Insert results, each with the first row key of its run.

    Raises sqlite3.IntegrityError if there is a result for an item or a place.
    """
    rows = []
    for first, (place, result, steps) in results:
        error = result.error
        failure = (None, None, None) if error is None else (error.code, error.message, error.data)
        keys = (first + place, first + result.item_index, result.status.value)
        if is_long(result.value):
            _VALUE.insert(db, result.value, (*keys, *failure, result.completed_at, steps))
        else:
            rows.append((*keys, result.value, *failure, result.completed_at, steps))
    insert_rows(db, "results", rows)


def read_results(db: sqlite3.Connection, first: int, page: Page) -> PartOfPage:
    """Read the first results of a page; `first` is the first row key of the run."""
    if page.order is ResultOrder.BY_COMPLETION:
        stop = min(page.completions, page.first + WINDOW)
        rest = page._replace(first=stop)
        rows = db.execute(_BY_PLACE, _bounds(first, page.first, stop, page.start, page.stop))
    elif page.completions - page.first <= min(WINDOW, page.stop - page.start - 1):
        bounds = _bounds(first, page.first, page.completions, page.start, page.stop)
        places = db.execute(_PLACES_BY_ITEM, (*bounds, RESULT_PAGE_LENGTH)).fetchall()
        return PartOfPage(_page(db, (db.execute(_AT_PLACE, place).fetchone() for place in places), first))
    else:
        stop = min(page.stop, page.start + WINDOW)
        rest = page._replace(start=stop)
        rows = db.execute(_BY_ITEM, _bounds(first, page.start, stop, page.first, page.completions))
    results = _page(db, rows, first)
    more = not results and rest.start < rest.stop and rest.first < rest.completions
    return PartOfPage(results, rest if more else None)


def result_of(db: sqlite3.Connection, row: tuple[Any, ...], first: int) -> ItemResult:
    """The result in a row of RESULT_COLUMNS; `first` is the first row key of the run."""
    item, status, value, completed_at, place, code, message, data = row
    error = None
    if code is not None:
        error = ItemError(code=code, message=message, data=data)
    elif value is None and status == _SUCCESS:
        value = _VALUE.read(db, place)
    return ItemResult(
        item_index=item - first, status=_STATES[status], value=value, error=error, completed_at=completed_at
    )


def _bounds(first: int, *bounds: int) -> tuple[int, ...]:
    return tuple(first + bound for bound in bounds)


def _page(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]], first: int) -> list[ItemResult]:
    """The first results of rows, as many as a page may hold."""
    page: list[ItemResult] = []
    size = 0
    for row in rows:
        result = result_of(db, row, first)
        page.append(result)
        size += text_size(result)
        if size >= RESULT_PAGE_BYTES or len(page) == RESULT_PAGE_LENGTH:
            break
    return page
