"""Long texts in a SQLite file, written and read in parts.

To bind or to fetch a text as a whole holds the interpreter's lock while it is copied and converted: of 60 MB, that is
a tenth of a second in which the event loop stands still.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from gateway.core.long_strings import PART, from_utf8, utf8_length, utf8_parts

LONG_TEXT: Final = 1 << 20
"""Longer texts, in characters, are written and read in parts."""


def is_long(value: object) -> bool:
    """Whether a value is a text that is written and read in parts."""
    return isinstance(value, str) and len(value) > LONG_TEXT


class TextColumn:
    """A column of a table whose values may be long texts. `others` are the columns that are written with it.

    `verb` is how rows are inserted.
    """

    def __init__(self, table: str, name: str, others: Sequence[str], verb: str = "INSERT") -> None:
        self._table, self._name = table, name
        inserting = f"{verb} INTO {table} ({', '.join((*others, name))}) VALUES ({'?, ' * len(others)}"
        self._insert = f"{inserting}?)"
        self._insert_empty = f"{inserting}CAST(zeroblob(?) AS TEXT))"
        self.short = f"iif(typeof({name}) = 'text' AND length({name}) > {LONG_TEXT}, NULL, {name})"
        """An expression for its value, or NULL if that is a long text."""

    def insert(self, db: sqlite3.Connection, value: object, others: tuple[object, ...]) -> None:
        """Insert a row."""
        if not (isinstance(value, str) and len(value) > LONG_TEXT):
            db.execute(self._insert, (*others, value))
            return
        added = db.execute(self._insert_empty, (*others, utf8_length(value)))
        if added.rowcount and added.lastrowid is not None:
            with db.blobopen(self._table, self._name, added.lastrowid) as stored:
                for part in utf8_parts(value):
                    stored.write(part)

    def read(self, db: sqlite3.Connection, row: int) -> str:
        """A text, by its row id."""
        with db.blobopen(self._table, self._name, row, readonly=True) as stored:
            return from_utf8(iter(lambda: stored.read(PART), b""))
