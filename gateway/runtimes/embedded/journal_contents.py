"""What a state file holds when it is opened."""

import sqlite3
from typing import NamedTuple

from gateway.core.model import canonical_run_id
from gateway.runtimes.embedded.changed_rows import last_change, read_eras
from gateway.runtimes.embedded.stored_bytes import StoredBytes, read_stored
from gateway.runtimes.embedded.tombstones import TombstoneRows


class Contents(NamedTuple):
    """What a file holds when it is opened, for which time, its last run, the runs that have not arrived, and what the
    log of changes needs, and how much is stored; `last_early` is the largest key of a run whose id does not have it.
    """

    epoch: int
    last_run: int
    last_run_id: str
    arriving: list[int]
    last_change: int
    last_early: int
    eras: dict[int, int]
    tombstones: TombstoneRows
    stored: StoredBytes


def read_contents(db: sqlite3.Connection) -> Contents:
    """Read what a file holds."""
    epoch, last_run = db.execute("SELECT max(epoch), (SELECT max(run) FROM runs) FROM epochs").fetchone()
    arriving = [run for (run,) in db.execute("SELECT run FROM arriving ORDER BY run")]
    newest = (db.execute(f"SELECT max(run_id) FROM {table}").fetchone()[0] for table in ("runs", "ended_runs"))
    last_run_id = max((found for found in newest if found and canonical_run_id(found)), default="0" * 32)
    run = max([last_run or 0, *arriving])
    last_early = db.execute("SELECT coalesce(max(key), 0) FROM early_runs").fetchone()[0]
    stored = StoredBytes(*read_stored(db))
    return Contents(
        epoch, run, last_run_id, arriving, last_change(db), last_early, read_eras(db), TombstoneRows(db), stored
    )
