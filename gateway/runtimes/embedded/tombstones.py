"""What is left of deleted runs for a while, so that those who follow sets learn that they have gone."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.runtimes.embedded.changes import Change, Removal, Tombstone

TOMBSTONES_TABLE: Final = "CREATE TABLE tombstones (changed INTEGER PRIMARY KEY, run BLOB);"
"""A row without a run: those before it are gone."""

MAX_TOMBSTONES: Final = 100_000
"""How many deleted runs are remembered: who has been away for longer begins anew."""

_DROPPED: Final = 256
"""How many of the oldest ones are dropped together."""


class TombstoneRows:
    """The tombstones of a SQLite file. `number` is how many there are, `forgotten` the last one that is gone."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._number: int = db.execute("SELECT count(*) FROM tombstones").fetchone()[0]
        first = db.execute("SELECT changed FROM tombstones WHERE run IS NULL ORDER BY changed LIMIT 1").fetchone()
        self.forgotten: int = 0 if first is None else first[0]

    def insert(self, db: sqlite3.Connection, removals: Sequence[Removal]) -> None:
        """Remember runs that this transaction deletes."""
        rows = [(number, _ENCODER.encode(tombstone)) for number, tombstone in removals]
        db.executemany("INSERT INTO tombstones VALUES (?, ?)", rows)
        self._number += len(rows)
        while self._number >= MAX_TOMBSTONES + _DROPPED:
            ordered = "SELECT changed FROM tombstones ORDER BY changed LIMIT 1 OFFSET ?"
            last: int = db.execute(ordered, (_DROPPED,)).fetchone()[0]
            db.execute("DELETE FROM tombstones WHERE changed < ?", (last,))
            db.execute("UPDATE tombstones SET run = NULL WHERE changed = ?", (last,))
            self._number -= _DROPPED
            self.forgotten = last


def read_tombstones(db: sqlite3.Connection, after: int, until: int, limit: int) -> list[Change]:
    """The first runs that were deleted between two numbers."""
    rows = db.execute(
        "SELECT changed, run FROM tombstones WHERE changed > ? AND changed <= ? AND run IS NOT NULL ORDER BY changed "
        "LIMIT ?",
        (after, until, limit),
    )
    return [Change(number, _DECODER.decode(run)) for number, run in rows]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Tombstone)
