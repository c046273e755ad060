import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.storage.sqlite_problems import problem_of

BESIDE = sqlite3.SQLITE_IOERR | 19 << 8
"""SQLITE_IOERR_SHMSIZE: there is no room for the index that SQLite keeps beside a file."""


def error(code: int) -> sqlite3.OperationalError:
    found = sqlite3.OperationalError("disk I/O error")
    found.sqlite_errorcode = code
    return found


@pytest.mark.parametrize(
    ("code", "blocks", "words"),
    [
        (BESIDE, 0, "the disk is full (disk I/O error)"),
        (sqlite3.SQLITE_IOERR, 7, "the disk is full (disk I/O error)"),
        (BESIDE, 1_000_000, "disk I/O error"),
        (sqlite3.SQLITE_CORRUPT, 0, "disk I/O error"),
    ],
)
def test_a_disk_that_is_full_is_told_from_one_that_fails(
    code: int, blocks: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=blocks, f_frsize=4096))
    assert problem_of(error(code), tmp_path / "s.db") == words


def test_what_no_disk_is_known_of_is_told_as_it_is(tmp_path: Path) -> None:
    assert problem_of(error(BESIDE), tmp_path / "gone" / "s.db") == "disk I/O error"
    assert problem_of(sqlite3.OperationalError("no such table"), tmp_path / "s.db") == "no such table"
