"""What an error of SQLite tells about a file, in words for operators."""

import os
import sqlite3
from pathlib import Path
from typing import Final

DISK_IS_FULL: Final = "the disk is full"

_PRIMARY: Final = 0xFF
"""The part of an error code that names the kind; the rest says where it happened."""

_LEAST_ROOM: Final = 64 << 10
"""What SQLite needs beside a file, at least, to open it: an index of what was written last, and a page of that."""


def problem_of(error: sqlite3.Error, path: Path) -> str:
    """Say what is wrong with a file, or with the disk that it is on.

    SQLite calls it an input/output error if there is no room for what it keeps beside a file.
    """
    kind = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    full = kind == sqlite3.SQLITE_IOERR and _room(path) < _LEAST_ROOM
    return f"{DISK_IS_FULL} ({error})" if full else str(error)


def _room(path: Path) -> int:
    """How many bytes this user can write more to the disk of a file."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return _LEAST_ROOM
    return disk.f_bavail * disk.f_frsize
