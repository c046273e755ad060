"""Reading the runs of a SQLite file that have not ended, and which of their items have."""

import sqlite3
from typing import Final

from gateway.runtimes.embedded.found_runs import read_found
from gateway.runtimes.embedded.journal import FINISHED_ITEMS, RUN_ROWS, UNFINISHED_RUNS, FinishedItems, UnfinishedRun
from gateway.runtimes.embedded.run_search import Bounds
from gateway.runtimes.embedded.run_terms import STATE, UNFINISHED
from gateway.runtimes.embedded.sqlite_index import SqliteIndex

_TERMS: Final = f"SELECT term FROM terms WHERE kind = {STATE} AND text = '{UNFINISHED}'"


def read_unfinished(db: sqlite3.Connection, after: int, until: int) -> list[UnfinishedRun]:
    """The first runs with numbers above `after` whose keys are `until` at most.

    The number of a run is one more than its key. Who sees it learns when the run was accepted, and not how many were.
    """
    terms = [term for (term,) in db.execute(_TERMS)]
    keys = SqliteIndex(db).keys(terms, Bounds(after, until, newest_first=False), UNFINISHED_RUNS)
    records = [(key, record) for key, record, _, _ in read_found(db, keys)]
    return [
        UnfinishedRun(key + 1, record.run_id, record.root_id, record.parent_id, record.total) for key, record in records
    ]


def finished_items(db: sqlite3.Connection, run_id: str, start: int) -> FinishedItems:
    """Whether items of a run have finished, from an index on."""
    run, total = db.execute("SELECT run, total FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    first = run * RUN_ROWS + start
    length = min(FINISHED_ITEMS, total - start)
    window = (first, first + length)
    number, failed = db.execute(
        "SELECT count(*), coalesce(sum(status <> 'success'), 0) FROM results WHERE item >= ? AND item < ?", window
    ).fetchone()
    if number in (0, length):
        # Nearly always: items finish about in the order of their indexes.
        return FinishedItems(bytes([number > 0]) * length, failed)
    done = bytearray(length)
    for (item,) in db.execute("SELECT item FROM results WHERE item >= ? AND item < ?", window):
        done[item - first] = 1
    return FinishedItems(bytes(done), failed)
