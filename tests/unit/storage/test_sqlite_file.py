"""A state file that cannot be written for a while, and one that somebody takes away."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import Unavailable
from gateway.core.readiness import Readiness
from gateway.storage import sqlite_file
from gateway.storage.sqlite_file import ROWS_TOGETHER, StateFile
from gateway.storage.sqlite_opening import Schema
from tests.support.tasks import LIMIT

SCHEMA = Schema(1, "CREATE TABLE a (x UNIQUE);")


@pytest.fixture
async def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StateFile]:
    monkeypatch.setattr(sqlite_file, "LOOK_SECONDS", 0.01)
    file = await StateFile.open(tmp_path / "state.db", SCHEMA)
    yield file
    await file.close()


async def changed(readiness: Readiness) -> None:
    """Wait until the readiness changes."""
    change = asyncio.Event()
    readiness.on_change(change.set)
    async with asyncio.timeout(LIMIT):
        await change.wait()


async def test_a_disk_that_is_full_is_an_obstacle_for_as_long_as_it_lasts(file: StateFile) -> None:
    pages = file._writing.execute("PRAGMA page_count").fetchone()[0]
    file._writing.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match=r"^the state cannot be written$"):
        await file.append("a", ("x" * 100_000,))
    assert file.readiness.obstacle == "the state cannot be written: database or disk is full"
    await changed(file.readiness)  # A small write succeeds, which the file tries by itself.
    assert file.readiness.obstacle is None
    with pytest.raises(Unavailable):
        await file.append("a", ("x" * 100_000,))
    file._writing.execute("PRAGMA max_page_count = 1000000")
    await file.append("a", ("x" * 100_000,))
    assert file.readiness.obstacle is None


@pytest.mark.parametrize("name", ["state.db", "state.db-wal"])
async def test_a_file_that_was_deleted_is_noticed_without_a_write(name: str, file: StateFile, tmp_path: Path) -> None:
    (tmp_path / name).unlink()
    await changed(file.readiness)
    assert file.readiness.obstacle == f"the state is lost: {name} was deleted, moved or replaced"
    with pytest.raises(Unavailable):
        await file.append("a", (1,))
    assert await file.read(lambda db: db.execute("SELECT count(*) FROM a").fetchone()) == (0,)


async def test_a_write_that_would_be_lost_is_refused_at_once_and_takes_no_effect(
    file: StateFile, tmp_path: Path
) -> None:
    moved = (tmp_path / "state.db").rename(tmp_path / "moved.db")
    with pytest.raises(Unavailable):
        await file.append("a", (1,))
    moved.rename(tmp_path / "state.db")
    await changed(file.readiness)
    assert file.readiness.obstacle is None
    await file.append("a", (2,))
    assert await file.read(lambda db: db.execute("SELECT x FROM a").fetchall()) == [(2,)]


@pytest.mark.parametrize("number", [1, 3, ROWS_TOGETHER, ROWS_TOGETHER + 1, 3 * ROWS_TOGETHER - 1])
async def test_rows_of_one_batch_are_written_by_few_statements_and_as_a_whole(file: StateFile, number: int) -> None:
    statements: list[str] = []
    file._writing.set_trace_callback(statements.append)
    await asyncio.gather(*(file.append("a", (row,)) for row in range(number)))
    file._writing.set_trace_callback(None)
    inserting = -(-number // ROWS_TOGETHER)
    assert len(statements) == (1 if inserting == 1 else inserting + 2)
    rows = "SELECT x FROM a ORDER BY rowid"
    assert await file.read(lambda db: db.execute(rows).fetchall()) == [(row,) for row in range(number)]
    again = [file.append("a", (row,)) for row in range(number + ROWS_TOGETHER - 1, -1, -1)]
    refused = await asyncio.gather(*again, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in refused)
    assert await file.read(lambda db: db.execute(rows).fetchall()) == [(row,) for row in range(number)]


async def test_items_that_are_written_together_are_one_call_and_each_has_its_answer(file: StateFile) -> None:
    calls: list[list[int]] = []

    def add(db: sqlite3.Connection, items: list[int]) -> list[int]:
        calls.append(items)
        return [db.execute("INSERT INTO a VALUES (?) RETURNING x + 100", (item,)).fetchone()[0] for item in items]

    def number(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT count(*) FROM a").fetchone()[0])

    answers = await asyncio.gather(
        file.write_together(add, 1), file.append("a", (2,)), file.write(number), file.write_together(add, 3)
    )
    assert list(answers) == [101, None, 0, 103]
    assert calls == [[1, 3]]
    assert await file.write(number) == 3


async def test_an_error_of_one_write_says_nothing_about_the_file(file: StateFile) -> None:
    def too_long(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO a VALUES (zeroblob(2000000000))")

    with pytest.raises(sqlite3.DataError):
        await file.write(too_long)
    assert file.readiness.obstacle is None


async def test_a_contradiction_is_a_defect_after_which_nothing_is_written(file: StateFile, tmp_path: Path) -> None:
    await file.append("a", (1,))
    with pytest.raises(Unavailable):
        await file.append("a", (1,))
    with pytest.raises(Unavailable):
        await file.append("a", (2,))
    assert file.readiness.obstacle == "the state contradicts itself"
    assert file.readiness.defect == (
        f"the state {tmp_path}/state.db contradicts what is to be written (UNIQUE constraint failed: a.x): this is a "
        "defect, and the gateway stops; keep the file and the log, and report it"
    )
