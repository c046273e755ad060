"""Gives all free room of a SQLite file back to the file system."""

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.storage.owned_file import OwnedFile, StateError
from gateway.storage.sqlite_problems import problem_of


def compact(path: Path) -> None:
    """Write a file anew that no process owns. From then on, it can give room back while it is used.

    It takes as much room again meanwhile. Raises StateError if the file is in use, or there is no room.
    """
    file = OwnedFile.take(path)
    try:
        with closing(sqlite3.connect(file.path, isolation_level=None)) as db:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("VACUUM")
    except sqlite3.Error as error:
        raise StateError(f"cannot compact the state {path}: {problem_of(error, file.path)}") from error
    finally:
        file.release()
