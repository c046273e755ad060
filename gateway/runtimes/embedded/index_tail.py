"""The index of runs that had ended when they were accepted: it is behind by some, and made up before anybody reads it.

Such runs are most of all, and each is a row that is appended. To index each with its row would cost a sixth of what it
takes to keep it; many together cost a few statements. The table `indexed` says up to which run the index is complete,
so what is missing after a crash is found in the same way.
"""

import asyncio
import logging
import sqlite3
from typing import Final

from gateway.core.errors import Unavailable
from gateway.runtimes.embedded.ended_rows import read_ended
from gateway.runtimes.embedded.postings import Postings
from gateway.storage.sqlite_file import StateFile

_log = logging.getLogger(__name__)

INDEXED_TABLE: Final = "CREATE TABLE indexed (run_id TEXT NOT NULL); INSERT INTO indexed VALUES ('');"

BEHIND: Final = 512
"""How many runs the index may be behind before it is made up."""

TOGETHER: Final = 1_024
"""How many runs a transaction indexes: some 5 ms, for which other writes wait."""


class IndexTail:
    """Makes up the index when it is asked for, and when it is far behind."""

    def __init__(self, file: StateFile, postings: Postings) -> None:
        self._file = file
        self._postings = postings
        self._behind = 0
        self._is_known = False
        """Whether `_behind` is all that is missing; after a start, there may be more."""
        self._indexing: asyncio.Task[None] | None = None

    def added(self) -> None:
        """One more run is in the table, and not in the index."""
        self._behind += 1
        if self._behind >= BEHIND and self._indexing is None:
            self._indexing = asyncio.create_task(self._index_later())

    async def index(self) -> None:
        """Return when all runs are indexed that are in the table now. Raises Unavailable as writes do."""
        while self._behind or not self._is_known:
            behind, self._behind = self._behind, 0
            try:
                self._is_known = not await self._file.write(lambda db: index_some(db, self._postings))
            except BaseException:
                self._behind += behind
                raise

    async def close(self) -> None:
        """End what goes on in the background."""
        if self._indexing is not None:
            self._indexing.cancel()
            await asyncio.gather(self._indexing, return_exceptions=True)

    async def _index_later(self) -> None:
        try:
            await self.index()
        except Unavailable as error:
            _log.warning("the index of runs is behind: %s", error.message)
        finally:
            self._indexing = None


def index_some(db: sqlite3.Connection, postings: Postings) -> bool:
    """Index the next runs of the table, within a transaction. Return whether there may be more."""
    rows = db.execute(
        "SELECT run FROM ended_runs WHERE run_id > (SELECT run_id FROM indexed) ORDER BY run_id LIMIT ?", (TOGETHER,)
    ).fetchall()
    runs = [read_ended(run) for (run,) in rows]
    if runs:
        postings.add(db, [(record, outcome.status) for record, outcome in runs])
        db.execute("UPDATE indexed SET run_id = ?", (runs[-1][0].run_id,))
    return len(rows) == TOGETHER
