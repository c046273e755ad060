"""The keys of runs: their order of submission, as numbers.

The key of a run is the number in its id, a UUID of version 7, which counts 4,096ths of a millisecond. Files of early
versions have ids of another kind; the table `early_runs` has the keys of these.
"""

import sqlite3
from typing import Final

from gateway.core.model import Nanoseconds
from gateway.flows.run_ids import key_of
from gateway.flows.run_record import RunRecord

EARLY_RUNS_TABLE: Final = "CREATE TABLE early_runs (key INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE);"

KEY_BITS: Final = 60
"""All keys are below 2 to the power of this."""


def key_at(moment: Nanoseconds) -> int:
    """The key of a run that is submitted at a time, unless another run has it already."""
    return (moment << 12) // 1_000_000


def key_of_new(db: sqlite3.Connection, record: RunRecord) -> int:
    """The key of a run that is inserted."""
    key = key_of(record.run_id)
    return _early_key(db, record) if key is None else key


def key_of_kept(db: sqlite3.Connection, run_id: str) -> int | None:
    """The key of a run that has been inserted; None if there is no such run."""
    key = key_of(run_id)
    if key is None:
        row = db.execute("SELECT key FROM early_runs WHERE run_id = ?", (run_id,)).fetchone()
        key = None if row is None else row[0]
    return key


def _early_key(db: sqlite3.Connection, record: RunRecord) -> int:
    last = int(db.execute("SELECT coalesce(max(key), -1) FROM early_runs").fetchone()[0])
    key = max(key_at(record.created_at), last + 1)
    db.execute("INSERT INTO early_runs VALUES (?, ?)", (key, record.run_id))
    return key
