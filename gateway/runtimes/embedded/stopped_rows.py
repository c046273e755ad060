"""What is kept of items that were executing when their run was cancelled, in a SQLite table. They have no result."""

import sqlite3
from collections.abc import Iterable
from typing import Final

from gateway.flows.item_log import StoppedItem
from gateway.storage.sqlite_file import insert_rows

STOPPED_ITEMS_TABLE: Final = "CREATE TABLE stopped_items (item INTEGER PRIMARY KEY, kept BLOB NOT NULL);"

_OF_RUN: Final = "SELECT item, kept FROM stopped_items WHERE item >= ? AND item < ?"


def insert_stopped(db: sqlite3.Connection, first: int, stopped: Iterable[StoppedItem]) -> None:
    """Insert items of a run; `first` is its first row key."""
    insert_rows(db, "stopped_items", [(first + index, kept) for index, kept in stopped])


def read_stopped(db: sqlite3.Connection, first: int, start: int, stop: int) -> dict[int, bytes]:
    """Read the items with `start <= item_index < stop`, by index; `first` is the first row key of the run."""
    return {item - first: kept for item, kept in db.execute(_OF_RUN, (first + start, first + stop))}
