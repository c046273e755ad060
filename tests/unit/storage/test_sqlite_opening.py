"""Opening a SQLite file that is ours, or is not."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.storage.owned_file import StateError
from gateway.storage.sqlite_file import StateFile
from gateway.storage.sqlite_opening import APPLICATION_ID, Schema

SCHEMA = Schema(7, "CREATE TABLE runs (a); CREATE TABLE other (b);")


def _tables_without_a_version(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE bookmarks (a)")


def _tables_of_the_same_names(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE runs (a)")


def _the_same_version(db: sqlite3.Connection) -> None:
    _tables_without_a_version(db)
    db.execute("PRAGMA user_version = 7")


def _a_view(db: sqlite3.Connection) -> None:
    db.execute("CREATE VIEW runs AS SELECT 1")


def _the_same_version_and_names(db: sqlite3.Connection) -> None:
    _tables_of_the_same_names(db)
    db.execute("PRAGMA user_version = 7")


def _another_application_id(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA application_id = 5")


def _wal_mode(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    _tables_without_a_version(db)


def _another_version(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA user_version = 99")


FOREIGN = [
    _tables_without_a_version,
    _tables_of_the_same_names,
    _the_same_version,
    _the_same_version_and_names,
    _a_view,
    _another_application_id,
    _wal_mode,
    _another_version,
]


@pytest.mark.parametrize("write", FOREIGN)
async def test_a_file_of_another_application_is_left_as_it_is(
    write: Callable[[sqlite3.Connection], None], tmp_path: Path
) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as db:
        write(db)
        db.commit()
    os.utime(path, (1, 1))
    content, looked = path.read_bytes(), os.stat(path)
    with pytest.raises(StateError) as refused:
        await StateFile.open(path, SCHEMA)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    assert (path.read_bytes(), os.stat(path).st_mtime, os.stat(path).st_mode) == (content, 1, looked.st_mode)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("content", [b"no database " * 100, b"short", b"\0" * 4096])
async def test_what_is_no_database_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(StateError, match="it is a file of another application, and stays as it is"):
        await StateFile.open(path, SCHEMA)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [path.name]


async def test_the_header_tells_whose_a_file_is_even_if_nothing_else_is_in_it_yet(tmp_path: Path) -> None:
    file = await StateFile.open(tmp_path / "state.db", SCHEMA)
    assert (tmp_path / "state.db").read_bytes()[68:72] == APPLICATION_ID.to_bytes(4)
    await file.close()


async def test_a_file_of_an_early_version_is_marked_as_ours(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA.tables} PRAGMA user_version = 7;")
        for ending in ("", "-wal"):  # As a process that was killed leaves it.
            (tmp_path / f"killed.db{ending}").write_bytes((tmp_path / f"state.db{ending}").read_bytes())
    for name in ("state.db", "killed.db"):
        file = await StateFile.open(tmp_path / name, SCHEMA)
        await file.append("runs", (1,))
        await file.close()
        assert (tmp_path / name).read_bytes()[68:72] == APPLICATION_ID.to_bytes(4)


async def test_everything_beside_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = await StateFile.open(tmp_path / "state.db", SCHEMA)
        await file.append("runs", (1,))
        modes = {name: os.stat(tmp_path / name).st_mode & 0o777 for name in os.listdir(tmp_path)}
        await file.close()
    finally:
        os.umask(before)
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
