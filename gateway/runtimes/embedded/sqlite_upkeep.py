"""The upkeep of a SQLite file. The table `blob_uses` has the time at which each blob was last put or used."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from gateway.core.model import Nanoseconds
from gateway.flows.run_owners import blob_key, namespace_of_blob
from gateway.runtimes.embedded.ended_rows import read_ended
from gateway.runtimes.embedded.index_tail import IndexTail
from gateway.runtimes.embedded.run_terms import FLOWS
from gateway.runtimes.embedded.stored_bytes import StoredBytes, blob_bytes
from gateway.runtimes.embedded.upkeep import IdleBlobs, Upkeep
from gateway.storage.sqlite_file import StateFile

BLOBS_TOGETHER: Final = 1_024
"""How many blobs are looked at together."""

PAGES_TOGETHER: Final = 64
"""How many pages are given back together: each moves another one."""

FREE_FRACTION: Final = 0.1
"""How much of a file may be free: what is written next needs it."""

FREE_PAGES: Final = 1_024
"""How many pages may be free in any case."""

_REFERRED: Final = f"EXISTS (SELECT 1 FROM terms WHERE kind IN {FLOWS} AND text = blob_id)"


class SqliteUpkeep(Upkeep):
    """Works on a file that somebody else opens and closes."""

    def __init__(self, file: StateFile, tail: IndexTail, stored: StoredBytes) -> None:
        self._file = file
        self._stored = stored
        self._tail = tail

    async def use_blobs(self, blob_ids: Collection[str], moment: Nanoseconds) -> None:
        used = "UPDATE blob_uses SET used = ? WHERE blob_id IN (SELECT value FROM json_each(?))"
        await self._file.write(lambda db: db.execute(used, (moment, json.dumps(list(blob_ids)))).rowcount)

    async def idle_blobs(self, after: str, before: Nanoseconds) -> IdleBlobs:
        await self._tail.index()
        return await self._file.read(lambda db: _idle_blobs(db, after, before))

    async def delete_blobs(self, blob_ids: Sequence[str]) -> None:
        await self._tail.index()
        await self._file.write(lambda db: _delete_blobs(db, self._stored, blob_ids))

    async def give_back(self) -> bool:
        if not await self._file.read(_has_much_room):
            return False
        return await self._file.write(_give_back)


def _idle_blobs(db: sqlite3.Connection, after: str, before: Nanoseconds) -> IdleBlobs:
    rows = "SELECT * FROM blob_uses WHERE blob_id > ? ORDER BY blob_id LIMIT ?"
    number, last = db.execute(f"SELECT count(*), max(blob_id) FROM ({rows})", (after, BLOBS_TOGETHER)).fetchone()
    found = db.execute(
        f"SELECT blob_id FROM ({rows}) WHERE used < ? AND NOT {_REFERRED}", (after, BLOBS_TOGETHER, before)
    )
    return IdleBlobs([blob_id for (blob_id,) in found], last if number == BLOBS_TOGETHER else None)


def count_idle_blobs(db: sqlite3.Connection, before: Nanoseconds) -> int:
    """How many blobs were not used since a time, and are no flows of runs, in a file that another process may own."""
    rows = db.execute("SELECT run FROM ended_runs WHERE run_id > (SELECT run_id FROM indexed)")
    flows = {blob_key(record.flow_id, record.namespace) for record, _ in (read_ended(run) for (run,) in rows)}
    idle = db.execute(f"SELECT blob_id FROM blob_uses WHERE used < ? AND NOT {_REFERRED}", (before,))
    return sum(blob_id not in flows for (blob_id,) in idle)


def _delete_blobs(db: sqlite3.Connection, stored: StoredBytes, blob_ids: Sequence[str]) -> None:
    wanted = json.dumps(list(blob_ids))
    going = f"SELECT blob_id, rowid FROM blobs WHERE blob_id IN (SELECT value FROM json_each(?)) AND NOT {_REFERRED}"
    for key, place in db.execute(going, (wanted,)).fetchall():
        stored.add(namespace_of_blob(key), -blob_bytes(db, place))
    for table in ("blobs", "blob_uses"):
        db.execute(
            f"DELETE FROM {table} WHERE blob_id IN (SELECT value FROM json_each(?)) AND NOT {_REFERRED}", (wanted,)
        )


def _has_much_room(db: sqlite3.Connection) -> bool:
    mode, free, pages = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("auto_vacuum", "freelist_count", "page_count")
    )
    return bool(mode) and free > max(FREE_PAGES, FREE_FRACTION * pages)


def _give_back(db: sqlite3.Connection) -> bool:
    db.execute(f"PRAGMA incremental_vacuum({PAGES_TOGETHER})").fetchall()
    return _has_much_room(db)
