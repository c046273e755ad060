"""The index of runs that had ended when they were accepted: it is behind by some, and made up before anybody reads it.

Such runs are most of all, and each is a row that is appended. To index each with its row would cost a sixth of what it
takes to keep it; many together cost a few statements. The table `indexed` says up to which run the index is complete,
so what is missing after a crash is found in the same way.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from gateway.concurrency.tasks import create_shared_task
from gateway.core.errors import Unavailable
from gateway.core.model import RunState
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.ended_rows import read_ended
from gateway.runtimes.embedded.postings import Postings
from gateway.runtimes.embedded.stored_bytes import StoredBytes
from gateway.storage.sqlite_file import StateFile

_log = logging.getLogger(__name__)

INDEXED_TABLE: Final = "CREATE TABLE indexed (run_id TEXT NOT NULL); INSERT INTO indexed VALUES ('');"

BEHIND: Final = 512
"""How many runs the index may be behind before it is made up."""

TOGETHER: Final = 1_024
"""How many runs a transaction indexes: some 5 ms, for which other writes wait."""


class _Behind(NamedTuple):
    """A run that is not indexed, and the size of its row."""

    record: RunRecord
    state: RunState
    size: int


class IndexTail:
    """Makes up the index when it is asked for, and when it is far behind."""

    def __init__(self, file: StateFile, postings: Postings, stored: StoredBytes) -> None:
        self._file = file
        self._postings = postings
        self._stored = stored
        self._behind: list[_Behind] = []
        self._sizes: Counter[str] = Counter()
        self._is_known = False
        """Whether `_behind` is all that is missing; after a start, there may be more."""
        self._indexing: asyncio.Task[None] | None = None

    def added(self, record: RunRecord, outcome: Outcome, size: int) -> None:
        """One more run is in the table, in a row of so many bytes, and not in the index."""
        self._behind.append(_Behind(record, outcome.status, size))
        self._sizes[record.namespace] += size
        if len(self._behind) >= BEHIND and self._indexing is None:
            self._indexing = create_shared_task(self._index_later())

    def bytes_of(self, namespace: str) -> int:
        """How many bytes the runs of a namespace have that are not indexed, as far as that is known."""
        return self._sizes[namespace]

    async def index(self) -> None:
        """Return when all runs are indexed that are in the table now. Raises Unavailable as writes do."""
        while self._behind or not self._is_known:
            behind, self._behind = self._behind, []
            # Until it is done, others that ask have to wait for it, and the table is read if it fails.
            self._is_known = False
            write = partial(index_some, postings=self._postings, stored=self._stored, behind=behind)
            more = await self._file.write(write)
            self._is_known = not more
            if not more:
                self._count()

    def _count(self) -> None:
        self._sizes.clear()
        for record, _, size in self._behind:
            self._sizes[record.namespace] += size

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


def _are_next(db: sqlite3.Connection, runs: Sequence[_Behind]) -> bool:
    ids = [run.record.run_id for run in runs]
    missing = "run_id > (SELECT run_id FROM indexed) AND run_id <= ?"
    number, first = db.execute(f"SELECT count(*), min(run_id) FROM ended_runs WHERE {missing}", (max(ids),)).fetchone()
    return bool(number == len(ids) and first == min(ids))


def index_some(db: sqlite3.Connection, postings: Postings, stored: StoredBytes, behind: Sequence[_Behind]) -> bool:
    """Index the next runs of the table, within a transaction. Return whether there may be more.

    If these are `behind`, as nearly always, they need not be read: each row that is read costs a turn at the lock of
    the interpreter.
    """
    if behind and _are_next(db, behind):
        _add(db, postings, stored, behind)
        return False
    rows = db.execute(
        "SELECT run FROM ended_runs WHERE run_id > (SELECT run_id FROM indexed) ORDER BY run_id LIMIT ?", (TOGETHER,)
    ).fetchall()
    if rows:
        runs = [(read_ended(run), len(run)) for (run,) in rows]
        _add(db, postings, stored, [_Behind(record, outcome.status, size) for (record, outcome), size in runs])
    return len(rows) == TOGETHER


def _add(db: sqlite3.Connection, postings: Postings, stored: StoredBytes, runs: Sequence[_Behind]) -> None:
    postings.add(db, [(record, state) for record, state, _ in runs])
    for record, _, size in runs:
        stored.add(record.namespace, size)
    db.execute("UPDATE indexed SET run_id = ?", (max(run.record.run_id for run in runs),))
