"""Reading the rows of a SQLite file in the order of their changes: a few in each read."""

import sqlite3
from typing import Any, Final

from gateway.core.model import RunState
from gateway.flows.run_ids import id_prefix, key_of
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.changes import Change, Changes
from gateway.runtimes.embedded.ended_rows import read_ended
from gateway.runtimes.embedded.tombstones import read_tombstones

CHANGED_INDEX: Final = "CREATE INDEX runs_changed ON runs (changed) WHERE changed IS NOT NULL;"

ERAS: Final = 4_096
"""How many openings are remembered."""

READ_TOGETHER: Final = 128
"""How many rows a read returns at most."""

_RECORD: Final = ", ".join(RunRecord.__struct_fields__)
_OUTCOME: Final = ", ".join(Outcome.__struct_fields__)
_WIDTH: Final = len(RunRecord.__struct_fields__)


def read_changes(db: sqlite3.Connection, after: int, until: int) -> Changes:
    """The first changes between two numbers."""
    limit = READ_TOGETHER
    changes = read_tombstones(db, after, until, limit)
    rows = db.execute(
        f"SELECT changed, {_RECORD}, {_OUTCOME} FROM runs WHERE changed > ? AND changed <= ? ORDER BY changed LIMIT ?",
        (after, until, limit),
    )
    changes += [Change(row[0], (RunRecord(*row[1 : _WIDTH + 1]), _outcome(row[_WIDTH + 1 :]))) for row in rows]
    ended = db.execute(
        "SELECT run_id, run FROM ended_runs WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?",
        (id_prefix(after + 1), id_prefix(until + 1), limit),
    )
    changes += [Change(key_of(run_id) or 0, read_ended(run)) for run_id, run in ended]
    changes.sort(key=lambda change: change.number)
    more = len(changes) >= limit
    return Changes(changes[:limit], changes[limit - 1].number if more else until, more)


def last_change(db: sqlite3.Connection) -> int:
    """The largest number that the file holds of a change; those in ids of runs are not looked at."""
    newest = ("SELECT max(changed) FROM runs", "SELECT max(changed) FROM tombstones", "SELECT max(opened) FROM epochs")
    return max(db.execute(statement).fetchone()[0] or 0 for statement in newest)


def read_eras(db: sqlite3.Connection) -> dict[int, int]:
    """The openings that are remembered, and their numbers."""
    rows = "SELECT era, opened FROM epochs WHERE era IS NOT NULL ORDER BY epoch DESC LIMIT ?"
    return dict(db.execute(rows, (ERAS,)).fetchall())


def note_opening(db: sqlite3.Connection, epoch: int, era: int, opened: int) -> None:
    """Remember an opening."""
    db.execute("UPDATE epochs SET era = ?, opened = ? WHERE epoch = ?", (era, opened, epoch))


def _outcome(row: Any) -> Outcome:
    return Outcome(RunState(row[0]), *row[1:])
