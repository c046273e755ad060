"""Notes of cancels that have begun: what a restart cuts off is done to its end after it."""

import sqlite3
from typing import Final, NamedTuple

from gateway.storage.sqlite_file import StateFile

CANCELS_TABLE: Final = "CREATE TABLE cancels (run_id TEXT PRIMARY KEY, reason TEXT) WITHOUT ROWID;"


class BegunCancel(NamedTuple):
    """A run that is being cancelled, with those inside it, and why."""

    run_id: str
    reason: str | None


class CancelNotes:
    """Those of a journal that does not outlive the process, which needs none. The end of a run removes its note."""

    async def add(self, cancel: BegunCancel) -> None:
        """Note a cancel, durably. Raises Unavailable if the journal cannot be written."""

    async def all(self) -> list[BegunCancel]:
        """The cancels that have begun, and not ended. Raises Unavailable if the journal cannot be read."""
        return []


class SqliteCancelNotes(CancelNotes):
    """Those of a journal in a file."""

    def __init__(self, file: StateFile) -> None:
        self._file = file

    async def add(self, cancel: BegunCancel) -> None:
        await self._file.write(lambda db: _add(db, cancel))

    async def all(self) -> list[BegunCancel]:
        return await self._file.read(_all)


def remove_cancel(db: sqlite3.Connection, run_id: str) -> None:
    """A run that was cancelled has ended."""
    db.execute("DELETE FROM cancels WHERE run_id = ?", (run_id,))


def _add(db: sqlite3.Connection, cancel: BegunCancel) -> None:
    db.execute("INSERT OR IGNORE INTO cancels VALUES (?, ?)", cancel)


def _all(db: sqlite3.Connection) -> list[BegunCancel]:
    return [BegunCancel(*row) for row in db.execute("SELECT run_id, reason FROM cancels")]
