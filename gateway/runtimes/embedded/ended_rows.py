"""Runs that had ended when they were accepted, as rows of a SQLite table: one for each, which holds all of it.

Their ids grow, so rows are appended.
"""

import sqlite3
from typing import Final, NamedTuple, TypeAlias

import msgspec

from gateway.core.model import ItemError, ItemResult, JsonText, Nanoseconds, RunState
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.journal import Ended

ENDED_RUNS_TABLE: Final = "CREATE TABLE ended_runs (run_id TEXT PRIMARY KEY, run BLOB NOT NULL) WITHOUT ROWID;"


class _EndedItem(NamedTuple):
    """A result: the value of a success, or the code, message and data of a failure."""

    completed_at: Nanoseconds
    value: JsonText | None
    error: tuple[int, str, JsonText | None] | None


EndedRow: TypeAlias = tuple[RunRecord, Outcome, list[_EndedItem]]
"""A row of `ended_runs`, which is stored as MessagePack."""

_ENDED_RUN = msgspec.msgpack.Decoder(EndedRow)
_WITHOUT_RESULTS = msgspec.msgpack.Decoder(tuple[RunRecord, Outcome, msgspec.Raw])
_ENCODER = msgspec.msgpack.Encoder()


def ended_row(record: RunRecord, ended: Ended) -> tuple[str, bytes]:
    """The row of a run that has ended."""
    items = []
    for result in ended.results:
        error = result.error
        failure = None if error is None else (error.code, error.message, error.data)
        items.append((result.completed_at, result.value, failure))
    return record.run_id, _ENCODER.encode((record, ended.outcome, items))


def find_ended(db: sqlite3.Connection, run_id: str) -> EndedRow | None:
    """What the row of a run holds; None if it has none."""
    row = db.execute("SELECT run FROM ended_runs WHERE run_id = ?", (run_id,)).fetchone()
    return None if row is None else _ENDED_RUN.decode(row[0])


def read_ended(row: bytes) -> tuple[RunRecord, Outcome]:
    """What a row holds besides the results."""
    record, outcome, _ = _WITHOUT_RESULTS.decode(row)
    return record, outcome


def ended_results(row: EndedRow) -> list[ItemResult]:
    """The results in a row."""
    return [_result(index, item) for index, item in enumerate(row[2])]


def _result(item_index: int, item: _EndedItem) -> ItemResult:
    completed_at, value, failure = item
    error = None
    if failure is not None:
        code, message, data = failure
        error = ItemError(code=code, message=message, data=data)
    state = RunState.SUCCESS if error is None else RunState.FAILED
    return ItemResult(item_index=item_index, status=state, value=value, error=error, completed_at=completed_at)
