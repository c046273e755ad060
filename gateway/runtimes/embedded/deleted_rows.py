"""Deleting runs in a SQLite file: they are gone at once, and what is left of long ones goes later."""

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from gateway.flows.run_owners import namespace_of
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.postings import Postings
from gateway.runtimes.embedded.removals import remove_rows
from gateway.runtimes.embedded.stored_bytes import StoredBytes


class Deleted(NamedTuple):
    """The ids of runs that were deleted, and the numbers of those that have rows left."""

    run_ids: set[str]
    left: list[int]


def delete_runs(
    db: sqlite3.Connection,
    postings: Postings,
    stored: StoredBytes,
    runs: Sequence[tuple[RunRecord, Outcome]],
) -> Deleted:
    """Delete runs that have ended, as far as they exist."""
    wanted = json.dumps([record.run_id for record, _ in runs])
    some = "run_id IN (SELECT value FROM json_each(?))"
    rows = db.execute(
        f"DELETE FROM runs WHERE {some} AND status IS NOT NULL RETURNING run_id, run, total, owner, bytes", (wanted,)
    ).fetchall()
    # Those that are not indexed yet are not counted yet.
    size = "iif(run_id <= (SELECT run_id FROM indexed), length(run), 0)"
    gone = dict(db.execute(f"DELETE FROM ended_runs WHERE {some} RETURNING run_id, {size}", (wanted,)).fetchall())
    for record, _ in runs:
        if record.run_id in gone:
            stored.add(record.namespace, -gone[record.run_id])
    for run_id, _, _, owner, bytes_of_run in rows:
        stored.add(namespace_of(owner), -(bytes_of_run or 0))
        gone[run_id] = 0
    left = [run for _, run, total, _, _ in rows if remove_rows(db, run, total)]
    postings.remove(db, [(record, outcome.status) for record, outcome in runs if record.run_id in gone])
    return Deleted(set(gone), left)
