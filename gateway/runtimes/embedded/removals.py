"""Removes the inputs and results of runs that do not exist: those that were not accepted, and those that were deleted.

The table `arriving` has the numbers of such runs, and of those whose inputs are being written. Nothing else leads to
their rows, so nobody sees them. A run may have 16 million of them, so they go in short transactions, in the background,
and after a restart as well.
"""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.concurrency.tasks import create_shared_task
from gateway.core.errors import Unavailable
from gateway.runtimes.embedded.journal import RUN_ROWS
from gateway.storage.sqlite_file import StateFile

_log = logging.getLogger(__name__)

ARRIVING_TABLE: Final = "CREATE TABLE arriving (run INTEGER PRIMARY KEY);"

REMOVAL_SECONDS: Final = 0.005
"""About how long a transaction removes rows."""

RETRY_SECONDS: Final = 10.0
"""Seconds until removing is tried again when the file could not be written."""

FEW_ITEMS: Final = 64
"""Of a run with so many items, the rows are removed at once."""


class Removals:
    """Removes what runs have left. `left` are their numbers."""

    def __init__(self, file: StateFile, left: Sequence[int]) -> None:
        self._file = file
        self._left = deque(left)
        self._removing: asyncio.Task[None] | None = None
        self._closed = False
        self._remove_later()

    def add(self, runs: Iterable[int]) -> None:
        """Remove what was written of runs, in the background, unless they have arrived."""
        self._left.extend(runs)
        self._remove_later()

    async def finish(self) -> None:
        """Wait until nothing is left."""
        if self._removing is not None:
            await self._removing

    async def close(self) -> None:
        """Stop removing; it goes on when the file is opened again."""
        self._closed = True
        if self._removing is not None:
            self._removing.cancel()
            await asyncio.gather(self._removing, return_exceptions=True)

    def _remove_later(self) -> None:
        if self._left and self._removing is None and not self._closed:
            self._removing = create_shared_task(self._remove())

    async def _remove(self) -> None:
        while self._left:
            run = self._left[0]
            try:
                finished = await self._file.write(lambda db, run=run: _remove_slice(db, run))  # type: ignore[misc]
            except Unavailable:
                _log.warning("inputs and results of a run that does not exist stay in the state for now")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if finished:
                self._left.popleft()
        self._removing = None


def remove_rows(db: sqlite3.Connection, run: int, total: int) -> bool:
    """Remove the inputs and results of a run that is deleted in this transaction. Return whether more are left.

    Then its number has been noted, and `Removals.add` must follow.
    """
    if total > FEW_ITEMS:
        db.execute("INSERT INTO arriving VALUES (?)", (run,))
        return True
    bounds = (run * RUN_ROWS, (run + 1) * RUN_ROWS)
    for table, key in _KEYS.items():
        db.execute(f"DELETE FROM {table} WHERE {key} >= ? AND {key} < ?", bounds)
    return False


def _remove_slice(db: sqlite3.Connection, run: int) -> bool:
    """Remove rows of a run that does not exist. Return whether none is left."""
    if db.execute("SELECT 1 FROM arriving WHERE run = ?", (run,)).fetchone() is None:
        return True
    until = time.monotonic() + REMOVAL_SECONDS
    if all(_remove_until(db, table, run, until) for table in _KEYS):
        db.execute("DELETE FROM arriving WHERE run = ?", (run,))
        return True
    return False


def _remove_until(db: sqlite3.Connection, table: str, run: int, until: float) -> bool:
    """Remove rows of a table until a value of `time.monotonic()`. Return whether none is left."""
    key = _KEYS[table]
    bounds = (run * RUN_ROWS, (run + 1) * RUN_ROWS)
    some = f"SELECT {key} FROM {table} WHERE {key} >= ? AND {key} < ? LIMIT ?"
    rows = 1
    while time.monotonic() < until:
        if db.execute(f"DELETE FROM {table} WHERE {key} IN ({some})", (*bounds, rows)).rowcount < rows:
            return True
        rows *= 2
    return False


_KEYS: Final = {"inputs": "item", "results": "place", "stopped_items": "item"}
"""The tables that have rows of runs, and their keys."""
