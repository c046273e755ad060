"""Blobs as rows of a SQLite table."""

import sqlite3
from typing import Final

from gateway.core.clock import now
from gateway.core.long_strings import utf8_length
from gateway.core.model import Blob, BlobType
from gateway.flows.run_owners import keys_of_blob, namespace_of_blob
from gateway.runtimes.embedded.stored_bytes import StoredBytes, blob_bytes
from gateway.storage.long_texts import TextColumn

BLOB_USES_TABLE: Final = "CREATE TABLE blob_uses (blob_id TEXT PRIMARY KEY, used INTEGER NOT NULL) WITHOUT ROWID;"
"""When each blob was last put or used. In `blobs`, to note that would be to write the content again."""

_CONTENT: Final = TextColumn("blobs", "content", ("blob_id", "type"), "INSERT OR IGNORE")
_SHORT_BLOB: Final = 64 << 10


def put_blob(db: sqlite3.Connection, stored: StoredBytes, key: str, blob: Blob) -> None:
    """Keep a blob. If there is one with this key, only its type may change, from data to flow."""
    before = db.total_changes
    _CONTENT.insert(db, blob.content, (key, blob.type.value))
    if db.total_changes > before:
        content = blob.content
        stored.add(namespace_of_blob(key), utf8_length(content) if isinstance(content, str) else len(content))
    db.execute("INSERT OR REPLACE INTO blob_uses VALUES (?, ?)", (key, now()))
    if blob.type is BlobType.FLOW:
        db.execute("UPDATE blobs SET type = 'flow' WHERE blob_id = ? AND type <> 'flow'", (key,))


def get_blob(db: sqlite3.Connection, key: str) -> Blob | None:
    """Read a blob."""
    row = db.execute(f"SELECT {_CONTENT.short}, type, rowid FROM blobs WHERE blob_id = ?", (key,)).fetchone()
    if row is None:
        return None
    content, kind, place = row
    return Blob(_CONTENT.read(db, place) if content is None else content, BlobType(kind))


def peek_blob(db: sqlite3.Connection, key: str) -> Blob | int | None:
    """Read a blob, or only its length, in bytes, if it is long."""
    row = db.execute("SELECT rowid FROM blobs WHERE blob_id = ?", (key,)).fetchone()
    if row is None:
        return None
    size = blob_bytes(db, row[0])
    return size if size > _SHORT_BLOB else get_blob(db, key)


def find_blob(db: sqlite3.Connection, blob_id: str) -> str | None:
    """The key of a blob in any namespace."""
    wanted = "SELECT blob_id FROM blobs WHERE blob_id >= ? AND blob_id < ? ORDER BY blob_id LIMIT 1"
    row = db.execute(wanted, keys_of_blob(blob_id)).fetchone()
    return None if row is None else str(row[0])
