"""Deleting runs in a SQLite file: they are gone at once, and what is left of long ones goes later."""

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from gateway.runtimes.embedded.changes import Removal
from gateway.runtimes.embedded.journal import Outcome, RunRecord
from gateway.runtimes.embedded.postings import Postings
from gateway.runtimes.embedded.removals import remove_rows
from gateway.runtimes.embedded.tombstones import TombstoneRows


class Deleted(NamedTuple):
    """The ids of runs that were deleted, and the numbers of those that have rows left."""

    run_ids: set[str]
    left: list[int]


def delete_runs(
    db: sqlite3.Connection,
    postings: Postings,
    tombstones: TombstoneRows,
    runs: Sequence[tuple[RunRecord, Outcome]],
    removals: Sequence[Removal],
) -> Deleted:
    """Delete runs that have ended, as far as they exist; `removals` says which changes that is, in the same order."""
    wanted = json.dumps([record.run_id for record, _ in runs])
    some = "run_id IN (SELECT value FROM json_each(?))"
    rows = db.execute(
        f"DELETE FROM runs WHERE {some} AND status IS NOT NULL RETURNING run_id, run, total", (wanted,)
    ).fetchall()
    gone = {run_id for (run_id,) in db.execute(f"DELETE FROM ended_runs WHERE {some} RETURNING run_id", (wanted,))}
    gone.update(run_id for run_id, _, _ in rows)
    left = [run for _, run, total in rows if remove_rows(db, run, total)]
    postings.remove(db, [(record, outcome.status) for record, outcome in runs if record.run_id in gone])
    tombstones.insert(db, [removal for removal in removals if removal.tombstone.run_id in gone])
    return Deleted(gone, left)
