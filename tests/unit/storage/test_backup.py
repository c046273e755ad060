"""A backup is of one moment, whatever is written meanwhile."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.storage.backup import back_up
from gateway.storage.compacting import compact
from gateway.storage.owned_file import StateError
from gateway.storage.sqlite_file import StateFile
from gateway.storage.sqlite_opening import Schema

SCHEMA = Schema(1, "CREATE TABLE numbers (number INTEGER PRIMARY KEY, text TEXT);")


async def test_a_backup_under_load_has_everything_that_was_durable_and_no_gaps(tmp_path: Path) -> None:
    file = await StateFile.open(tmp_path / "state.db", SCHEMA)
    durable = -1
    marks = {200 * copy: asyncio.Event() for copy in range(3)}

    async def write() -> None:
        nonlocal durable
        for number in range(100_000):
            await file.append("numbers", (number, "x" * 1_000))
            durable = number
            if number in marks:
                marks[number].set()

    writing = asyncio.create_task(write())
    for copy in range(3):
        await marks[200 * copy].wait()
        before = durable
        target = tmp_path / f"copy-{copy}.db"
        size = await asyncio.to_thread(back_up, tmp_path / "state.db", target)
        assert size == target.stat().st_size
        assert target.stat().st_mode & 0o777 == 0o600
        copied = await StateFile.open(target, SCHEMA)
        rows = await copied.read(lambda db: [number for (number,) in db.execute("SELECT number FROM numbers")])
        await copied.close()
        assert rows == list(range(len(rows)))
        assert len(rows) > before
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await file.close()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".partial")]


async def test_what_exists_is_not_overwritten_and_what_is_no_state_is_not_copied(tmp_path: Path) -> None:
    await (await StateFile.open(tmp_path / "state.db", SCHEMA)).close()
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(StateError, match="exists, and is not overwritten"):
        back_up(tmp_path / "state.db", target)
    assert target.read_text() == "mine"
    with pytest.raises(StateError, match="there is no state"):
        back_up(tmp_path / "none.db", tmp_path / "other.db")
    with closing(sqlite3.connect(tmp_path / "bookmarks.db")) as db:
        db.execute("CREATE TABLE bookmarks (a)")
    with pytest.raises(StateError, match="another application"):
        back_up(tmp_path / "bookmarks.db", tmp_path / "other.db")
    with pytest.raises(StateError, match="cannot write"):
        back_up(tmp_path / "state.db", tmp_path / "nowhere/other.db")
    assert sorted(os.listdir(tmp_path)) == ["bookmarks.db", "copy.db", "state.db"]


async def test_a_file_is_compacted_only_if_nobody_owns_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    file = await StateFile.open(path, SCHEMA)
    await asyncio.gather(*(file.append("numbers", (number, "x" * 10_000)) for number in range(200)))
    await file.write(lambda db: db.execute("DELETE FROM numbers"))
    with pytest.raises(StateError, match="in use"):
        compact(path)
    await file.close()
    compact(path)
    assert path.stat().st_size < 100_000
