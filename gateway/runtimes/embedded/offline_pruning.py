"""Pruning a state file that no gateway owns, and telling what would go from one that a gateway may own."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.core.clock import now
from gateway.runtimes.embedded.blob_uses import BlobUses
from gateway.runtimes.embedded.changed_rows import read_changes
from gateway.runtimes.embedded.changes import Tombstone
from gateway.runtimes.embedded.journal_schema import SCHEMA
from gateway.runtimes.embedded.pruning import EndedRecord, Pruning
from gateway.runtimes.embedded.retention import Retention
from gateway.runtimes.embedded.run_keys import KEY_BITS
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from gateway.runtimes.embedded.sqlite_upkeep import count_idle_blobs
from gateway.storage.backup import opened_beside
from gateway.storage.compacting import compact
from gateway.storage.owned_file import StateError


class Pruned(NamedTuple):
    """How many runs and blobs have gone, or would."""

    runs: int
    blobs: int


async def prune(path: Path, retention: Retention) -> Pruned:
    """Let everything go that is not to be kept, and give all room back.

    Raises StateError if a process owns the file.
    """
    if not path.is_file():  # noqa: ASYNC240 - nothing else goes on.
        raise StateError(f"there is no state {path}")
    journal = await SqliteJournal.open(path)
    number = 0

    async def delete(runs: Sequence[EndedRecord]) -> int:
        nonlocal number
        deleted = len(await journal.delete(runs))
        number += deleted
        return deleted

    try:
        journal.retention = retention
        blobs = await Pruning(journal, BlobUses(journal.upkeep, lambda _: None), delete).prune_all()
        await journal.finish_removals()
    finally:
        await journal.close()
    compact(path)
    return Pruned(number, blobs)


def preview(path: Path, retention: Retention) -> Pruned:
    """Tell how much would go, in one read. Raises StateError if the file is of another version."""
    with opened_beside(path) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA.version:
            needed = SCHEMA.version
            raise StateError(f"the state {path} has schema {version}, not {needed}: a gateway has to open it first")
        db.execute("BEGIN")
        keep = retention.keep_blobs
        blobs = 0 if keep is None else count_idle_blobs(db, now() - round(keep * 1e9))
        return Pruned(_count_runs(db, retention), blobs)


def _count_runs(db: sqlite3.Connection, retention: Retention) -> int:
    expired = reached = 0
    others: Counter[str] = Counter()
    more, moment = not retention.keeps_all_runs, now()
    while more:
        changes, reached, more = read_changes(db, reached, (1 << KEY_BITS) - 2)
        for change in changes:
            if isinstance(change.run, Tombstone):
                continue
            record, outcome = change.run
            expires_at = retention.expires_at(record, outcome)
            if expires_at is not None and expires_at <= moment:
                expired += 1
            elif retention.rule_of(record.flow_label, record.labels, outcome.status, record.namespace) == len(
                retention.rules
            ):
                others[record.namespace] += 1
    keep_runs = retention.keep_runs
    return expired + (0 if keep_runs is None else sum(max(0, number - keep_runs) for number in others.values()))
