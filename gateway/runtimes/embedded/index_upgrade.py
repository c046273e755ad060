"""Makes the index of runs for a state file of a version that had none."""

import sqlite3
from collections.abc import Iterator
from itertools import chain
from typing import Final

from gateway.core.clock import now
from gateway.core.model import RunState
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded.ended_rows import read_ended
from gateway.runtimes.embedded.postings import NewRun, Postings

_TOGETHER: Final = 4_096
"""How many runs are indexed together: their rows are inserted in order."""


def index_all(db: sqlite3.Connection) -> str:
    """Index all runs of a file; return in words what was done. A million runs take some 20 s."""
    postings = Postings()
    number = 0
    some: list[NewRun] = []
    for run in chain(_runs(db), _ended_runs(db)):
        some.append(run)
        number += 1
        if len(some) == _TOGETHER:
            postings.add(db, some)
            some = []
    postings.add(db, some)
    db.execute("INSERT INTO blob_uses SELECT blob_id, ? FROM blobs", (now(),))
    # So that runs are kept from their ends on. Later changes have larger numbers.
    db.execute("UPDATE runs SET changed = (completed_at / 1000000 << 12) + (run & 4095) WHERE status IS NOT NULL")
    last = "SELECT max(run_id) FROM ended_runs WHERE substr(run_id, 15, 1) = '7'"
    db.execute(f"UPDATE indexed SET run_id = coalesce(({last}), '')")
    return f"{number:,} runs are indexed"


def _runs(db: sqlite3.Connection) -> Iterator[NewRun]:
    rows = db.execute(
        "SELECT run_id, flow_id, flow_name, flow_label, created_at, root_id, status FROM runs ORDER BY run"
    )
    for run_id, flow_id, flow_name, flow_label, created_at, root_id, status in rows:
        record = RunRecord(
            run_id, flow_id, flow_name, flow_label, 0, None, None, "{}", None, "", None, "", created_at, root_id=root_id
        )
        yield record, None if status is None else RunState(status)


def _ended_runs(db: sqlite3.Connection) -> Iterator[NewRun]:
    for (row,) in db.execute("SELECT run FROM ended_runs ORDER BY run_id"):
        record, outcome = read_ended(row)
        yield record, outcome.status
