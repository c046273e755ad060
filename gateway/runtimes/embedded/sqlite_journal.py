"""The journal in a SQLite file."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from gateway.core.model import Blob, BlobType, ItemError, ItemResult, JsonText, Nanoseconds, ResultOrder, RunState
from gateway.core.runtime import Page, fill_page, text_size
from gateway.runtimes.embedded.journal import (
    MAX_ITEMS,
    Completion,
    Ended,
    FinishedItem,
    Journal,
    Outcome,
    RunRecord,
    of_page,
)
from gateway.storage.sqlite_file import Schema, StateFile

# `runs.run` numbers the runs. The key of an input is (run << 24) + item_index. A result has two keys, one with its
# place in the order of completion and one with its item_index: both orders are range scans, and a second result for an
# item or a place violates a key, so an item can finish only once.
#
# `ended_runs` holds the runs that had ended when they were accepted, unless they have an idempotency key, in one row
# each: `_EndedRun`. Their ids grow, so rows are appended.
_TABLES = """
CREATE TABLE blobs (blob_id TEXT PRIMARY KEY, type TEXT NOT NULL, content NOT NULL);
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, flow_id TEXT NOT NULL, flow_name TEXT, flow_label TEXT,
    total INTEGER NOT NULL, max_concurrency INTEGER, overrides TEXT, variables TEXT NOT NULL, observability TEXT,
    scope TEXT NOT NULL, key TEXT, fingerprint TEXT NOT NULL, created_at INTEGER NOT NULL,
    status TEXT, success INTEGER, failed INTEGER, completed_at INTEGER
);
CREATE UNIQUE INDEX runs_by_key ON runs (scope, key) WHERE key IS NOT NULL;
CREATE INDEX runs_unfinished ON runs (run) WHERE status IS NULL;
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY);
CREATE TABLE inputs (item INTEGER PRIMARY KEY, input TEXT NOT NULL);
CREATE TABLE results (
    place INTEGER PRIMARY KEY, item INTEGER NOT NULL UNIQUE, status TEXT NOT NULL, value TEXT, error_code INTEGER,
    error_message TEXT, error_data TEXT, completed_at INTEGER NOT NULL
);
CREATE TABLE ended_runs (run_id TEXT PRIMARY KEY, run BLOB NOT NULL) WITHOUT ROWID;
"""
SCHEMA = Schema(2, _TABLES, opening="INSERT INTO epochs DEFAULT VALUES")

_RECORD = ", ".join(RunRecord._fields)
_OUTCOME = ", ".join(Outcome._fields)
_INSERT_RESULT = "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_RESULT = "item, status, value, error_code, error_message, error_data, completed_at"


class _EndedItem(NamedTuple):
    """A result: the value of a success, or the code, message and data of a failure."""

    completed_at: Nanoseconds
    value: JsonText | None
    error: tuple[int, str, JsonText | None] | None


_EndedRun: TypeAlias = tuple[RunRecord, Outcome, list[_EndedItem]]
"""A row of `ended_runs`, which is stored as MessagePack."""

_ENDED_RUN = msgspec.msgpack.Decoder(_EndedRun)
_ENCODER = msgspec.msgpack.Encoder()


class SqliteJournal(Journal):
    """Loses nothing if the process ends, at any moment."""

    @classmethod
    async def open(cls, path: Path) -> "SqliteJournal":
        """Open or create the state at `path`. Raises StateError if it is in use or cannot be read."""
        file = await StateFile.open(path, SCHEMA)
        journal = cls(file)
        journal.epoch = await file.read(lambda db: int(db.execute("SELECT max(epoch) FROM epochs").fetchone()[0]))
        return journal

    def __init__(self, file: StateFile) -> None:
        self._file = file

    async def put_blob(self, blob_id: str, blob: Blob) -> None:
        await self._file.write(lambda db: _put_blob(db, blob_id, blob))

    async def get_blob(self, blob_id: str) -> Blob | None:
        return await self._file.read(lambda db: _get_blob(db, blob_id))

    async def create(
        self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None = None
    ) -> RunRecord | None:
        if ended is None or record.key is not None:
            return await self._file.write(lambda db: _create(db, record, inputs, ended))
        await self._file.append("ended_runs", (record.run_id, _ended_run(record, ended)))
        return None

    async def complete(self, completion: Completion) -> None:
        await self._file.write(lambda db: _complete(db, completion))

    async def load(self, run_id: str) -> tuple[RunRecord, Outcome | None] | None:
        return await self._file.read(lambda db: _load(db, run_id))

    async def unfinished(self) -> list[RunRecord]:
        return await self._file.read(_unfinished)

    async def finished_items(self, run_id: str) -> list[FinishedItem]:
        return await self._file.read(lambda db: _finished_items(db, run_id))

    async def inputs(self, run_id: str, start: int) -> list[JsonText]:
        return await self._file.read(lambda db: _inputs(db, run_id, start))

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        return await self._file.read(lambda db: _results(db, run_id, page))

    async def close(self) -> None:
        await self._file.close()


def _put_blob(db: sqlite3.Connection, blob_id: str, blob: Blob) -> None:
    db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", (blob_id, blob.type.value, blob.content))
    if blob.type is BlobType.FLOW:
        db.execute("UPDATE blobs SET type = 'flow' WHERE blob_id = ? AND type <> 'flow'", (blob_id,))


def _get_blob(db: sqlite3.Connection, blob_id: str) -> Blob | None:
    row = db.execute("SELECT content, type FROM blobs WHERE blob_id = ?", (blob_id,)).fetchone()
    return None if row is None else Blob(row[0], BlobType(row[1]))


def _create(
    db: sqlite3.Connection, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None
) -> RunRecord | None:
    if record.key is not None:
        taken = db.execute(
            f"SELECT {_RECORD} FROM runs WHERE scope = ? AND key = ?", (record.scope, record.key)
        ).fetchone()
        if taken is not None:
            return RunRecord(*taken)
    outcome = ended.outcome if ended else (None,) * len(Outcome._fields)
    marks = ", ".join("?" * (len(record) + len(outcome)))
    run = db.execute(f"INSERT INTO runs ({_RECORD}, {_OUTCOME}) VALUES ({marks})", (*record, *outcome)).lastrowid
    assert run is not None
    first = run * MAX_ITEMS
    if ended:
        rows = (_row(result, place, first) for place, result in enumerate(ended.results))
        db.executemany(_INSERT_RESULT, rows)
    else:
        db.executemany("INSERT INTO inputs VALUES (?, ?)", enumerate(inputs, first))
    return None


def _ended_run(record: RunRecord, ended: Ended) -> bytes:
    items = []
    for result in ended.results:
        error = result.error
        failure = None if error is None else (error.code, error.message, error.data)
        items.append((result.completed_at, result.value, failure))
    return _ENCODER.encode((record, ended.outcome, items))


def _find_ended(db: sqlite3.Connection, run_id: str) -> _EndedRun | None:
    row = db.execute("SELECT run FROM ended_runs WHERE run_id = ?", (run_id,)).fetchone()
    return None if row is None else _ENDED_RUN.decode(row[0])


def _ended_result(item_index: int, item: _EndedItem) -> ItemResult:
    completed_at, value, failure = item
    error = None
    if failure is not None:
        code, message, data = failure
        error = ItemError(code=code, message=message, data=data)
    state = RunState.SUCCESS if error is None else RunState.FAILED
    return ItemResult(item_index=item_index, status=state, value=value, error=error, completed_at=completed_at)


def _complete(db: sqlite3.Connection, completion: Completion) -> None:
    db.execute(_INSERT_RESULT, _row(completion.result, completion.place, _first_key(db, completion.run_id)))
    if completion.outcome is not None:
        db.execute(
            "UPDATE runs SET status = ?, success = ?, failed = ?, completed_at = ? WHERE run_id = ?",
            (*completion.outcome, completion.run_id),
        )


def _row(result: ItemResult, place: int, first: int) -> tuple[Any, ...]:
    """A row of `results`; `first` is the first row key of the run."""
    error = result.error
    failure = (None, None, None) if error is None else (error.code, error.message, error.data)
    keys = (first + place, first + result.item_index)
    return (*keys, result.status.value, result.value, *failure, result.completed_at)


def _first_key(db: sqlite3.Connection, run_id: str) -> int:
    """The first row key of the run; a negative key, matching no row, if it is unknown."""
    row = db.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return (-1 if row is None else int(row[0])) * MAX_ITEMS


def _load(db: sqlite3.Connection, run_id: str) -> tuple[RunRecord, Outcome | None] | None:
    row = db.execute(f"SELECT {_RECORD}, {_OUTCOME} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        ended_run = _find_ended(db, run_id)
        return None if ended_run is None else ended_run[:2]
    record, ended = RunRecord(*row[: len(RunRecord._fields)]), row[len(RunRecord._fields) :]
    return record, None if ended[0] is None else Outcome(RunState(ended[0]), *ended[1:])


def _unfinished(db: sqlite3.Connection) -> list[RunRecord]:
    rows = db.execute(f"SELECT {_RECORD} FROM runs WHERE status IS NULL ORDER BY run")
    return [RunRecord(*row) for row in rows]


def _finished_items(db: sqlite3.Connection, run_id: str) -> list[FinishedItem]:
    first = _first_key(db, run_id)
    rows = db.execute(
        "SELECT item, status FROM results WHERE place >= ? AND place < ? ORDER BY place", (first, first + MAX_ITEMS)
    )
    return [FinishedItem(item - first, RunState(status)) for item, status in rows]


def _inputs(db: sqlite3.Connection, run_id: str, start: int) -> list[JsonText]:
    first = _first_key(db, run_id)
    rows = db.execute(
        "SELECT input FROM inputs WHERE item >= ? AND item < ? ORDER BY item", (first + start, first + MAX_ITEMS)
    )
    return fill_page((text for (text,) in rows), len)


def _results(db: sqlite3.Connection, run_id: str, page: Page) -> list[ItemResult]:
    if (ended_run := _find_ended(db, run_id)) is not None:
        results = [_ended_result(index, item) for index, item in enumerate(ended_run[2])]
        return fill_page(of_page(results, page), text_size)
    first = _first_key(db, run_id)
    order = "place" if page.order is ResultOrder.BY_COMPLETION else "item"
    bounds = (first + bound for bound in (page.start, page.stop, page.first, page.completions))
    rows = db.execute(
        f"SELECT {_RESULT} FROM results WHERE item >= ? AND item < ? AND place >= ? AND place < ? ORDER BY {order}",
        tuple(bounds),
    )
    return fill_page((_result(row, first) for row in rows), text_size)


def _result(row: tuple[Any, ...], first: int) -> ItemResult:
    item, status, value, code, message, data, completed_at = row
    return ItemResult(
        item_index=item - first,
        status=RunState(status),
        value=value,
        error=None if code is None else ItemError(code=code, message=message, data=data),
        completed_at=completed_at,
    )
