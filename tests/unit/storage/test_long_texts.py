"""A long text is stored like any other one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from gateway.storage.long_texts import LONG_TEXT, TextColumn

LONG = ["x" * (LONG_TEXT + 1), "é😀" * LONG_TEXT]
COLUMN = TextColumn("notes", "text", ("name",), "INSERT OR IGNORE")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE notes (name TEXT PRIMARY KEY, text)")
        yield connection


@pytest.mark.parametrize("text", LONG, ids=["ascii", "wide"])
def test_a_long_text_is_a_text_to_sqlite(db: sqlite3.Connection, text: str) -> None:
    COLUMN.insert(db, text, ("a",))
    assert db.execute("SELECT typeof(text), text FROM notes").fetchone() == ("text", text)
    assert db.execute(f"SELECT {COLUMN.short} FROM notes").fetchone() == (None,)
    assert COLUMN.read(db, 1) == text


@pytest.mark.parametrize(
    "value", ["é" * LONG_TEXT, "", None, bytes(2 * LONG_TEXT)], ids=["text", "empty", "none", "bytes"]
)
def test_other_values_are_read_by_their_expression(db: sqlite3.Connection, value: object) -> None:
    COLUMN.insert(db, value, ("a",))
    assert db.execute(f"SELECT {COLUMN.short} FROM notes").fetchone() == (value,)


def test_a_row_that_is_ignored_changes_nothing(db: sqlite3.Connection) -> None:
    COLUMN.insert(db, "1", ("other",))
    COLUMN.insert(db, LONG[0], ("a",))
    COLUMN.insert(db, LONG[1], ("a",))
    assert COLUMN.read(db, 2) == LONG[0]
    assert db.execute("SELECT text FROM notes WHERE name = 'other'").fetchone() == ("1",)
