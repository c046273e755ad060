"""What is left of deleted runs for a while, so that those who follow sets learn that they have gone."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.runtimes.embedded.changes import Change, Removal, Tombstone

TOMBSTONES_TABLE: Final = "CREATE TABLE tombstones (changed INTEGER PRIMARY KEY, run BLOB);"
"""A row without a run: those before it, of its namespace, are gone."""

TOMBSTONES_BY_NAMESPACE: Final = """
ALTER TABLE tombstones ADD COLUMN namespace TEXT;
CREATE INDEX tombstones_by_namespace ON tombstones (namespace, changed);
"""
"""The default namespace is NULL."""

MAX_TOMBSTONES: Final = 100_000
"""How many deleted runs of a namespace are remembered: who has been away for longer begins anew.

The runs that others delete make no difference to that.
"""

_DROPPED: Final = 256
"""How many of the oldest ones are dropped together."""


class TombstoneRows:
    """The tombstones of a SQLite file: how many each namespace has, and the last one that is gone."""

    def __init__(self, db: sqlite3.Connection) -> None:
        numbers = db.execute("SELECT namespace, count(*) FROM tombstones GROUP BY namespace").fetchall()
        markers = "SELECT namespace, max(changed) FROM tombstones WHERE run IS NULL GROUP BY namespace"
        gone = db.execute(markers).fetchall()
        self._numbers = Counter({namespace or DEFAULT_NAMESPACE: number for namespace, number in numbers})
        self._forgotten: dict[str, int] = {namespace or DEFAULT_NAMESPACE: number for namespace, number in gone}

    def forgotten(self, namespace: str | None) -> int:
        """The last change of a namespace, or of any, that is gone."""
        if namespace is None:
            return max(self._forgotten.values(), default=0)
        return self._forgotten.get(namespace, 0)

    def insert(self, db: sqlite3.Connection, removals: Sequence[Removal]) -> None:
        """Remember runs that this transaction deletes."""
        rows = [(number, _ENCODER.encode(tombstone), _column(tombstone.namespace)) for number, tombstone in removals]
        db.executemany("INSERT INTO tombstones (changed, run, namespace) VALUES (?, ?, ?)", rows)
        self._numbers.update(removal.tombstone.namespace for removal in removals)
        for namespace in {removal.tombstone.namespace for removal in removals}:
            while self._numbers[namespace] >= MAX_TOMBSTONES + _DROPPED:
                self._drop(db, namespace)

    def _drop(self, db: sqlite3.Connection, namespace: str) -> None:
        inside = _column(namespace)
        ordered = "SELECT changed FROM tombstones WHERE namespace IS ? ORDER BY changed LIMIT 1 OFFSET ?"
        last: int = db.execute(ordered, (inside, _DROPPED)).fetchone()[0]
        db.execute("DELETE FROM tombstones WHERE namespace IS ? AND changed < ?", (inside, last))
        db.execute("UPDATE tombstones SET run = NULL WHERE changed = ?", (last,))
        self._numbers[namespace] -= _DROPPED
        self._forgotten[namespace] = last


def _column(namespace: str) -> str | None:
    return None if namespace == DEFAULT_NAMESPACE else namespace


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
