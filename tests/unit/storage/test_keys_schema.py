"""Files of keys that earlier versions have written are brought up, and everything in them goes on."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from gateway.core.errors import IdempotencyConflict
from gateway.core.model import RunState
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.storage.idempotency import Keys
from gateway.storage.run_notes import SubmitNote

WRITTEN: Final = Path(__file__).parents[2] / "data/states/keys_1002.db"
"""A file that the version before wrote: two keys, two runs that were noted, the second inside the first."""

FIRST, SECOND, NEW = (f"01a20377-4792-7b82-a1a4-f86edb2cd47{digit}" for digit in "123")
BLOB: Final = f"sha256:{'a' * 64}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(WRITTEN, tmp_path / "keys.db"))


async def submit() -> str:
    return NEW


async def test_keys_of_before_are_of_the_default_namespace(path: Path) -> None:
    keys = await Keys.open(str(path))
    assert await keys.once("", "key", "mfirst", submit) == (FIRST, False)
    assert await keys.once("task", "key", "msecond", submit, namespace=DEFAULT_NAMESPACE) == (SECOND, False)
    with pytest.raises(IdempotencyConflict):
        await keys.once("", "key", "mother", submit)
    assert await keys.once("", "key", "mother", submit, namespace="team-a") == (NEW, True)
    await keys.close()
    keys = await Keys.open(str(path))
    assert await keys.once("", "key", "mother", submit, namespace="team-a") == (NEW, False)
    await keys.close()


async def test_notes_of_before_belong_to_nobody(path: Path) -> None:
    keys = await Keys.open(str(path))
    notes = await keys.notes.of([FIRST, SECOND])
    assert notes[FIRST].submitted == SubmitNote("label", {"team": "x"})
    assert notes[SECOND].submitted == SubmitNote(None, {}, FIRST, FIRST, 1)
    end = notes[SECOND].ended
    assert end is not None
    assert (end.status, end.namespace, end.cancel_reason) == (RunState.CANCELLED, DEFAULT_NAMESPACE, "late")
    await keys.notes.submitted(NEW, SubmitNote(owner=Owner("team-a", "ann")))
    await keys.close()
    keys = await Keys.open(str(path))
    assert (await keys.notes.of([NEW]))[NEW].submitted.owner == Owner("team-a", "ann")
    await keys.close()


async def test_blobs_of_before_are_of_the_default_namespace(path: Path) -> None:
    keys = await Keys.open(str(path))
    assert await keys.marks.has(BLOB, DEFAULT_NAMESPACE)
    assert not await keys.marks.has(BLOB, "team-a")
    await keys.close()


async def test_a_file_of_the_version_before_that(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE notes; PRAGMA user_version = 1001;")
    keys = await Keys.open(str(path))
    assert await keys.once("", "key", "mfirst", submit) == (FIRST, False)
    await keys.notes.submitted(FIRST, SubmitNote("label"))
    await keys.marks.put(BLOB, "team-a")
    assert not await keys.marks.has(BLOB, DEFAULT_NAMESPACE)
    await keys.close()
