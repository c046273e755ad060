"""Runs that a search of the journal has found, and reading them from the tables of a SQLite file by their keys."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from gateway.core.model import RunState
from gateway.flows.run_ids import id_prefix, key_of
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.ended_rows import read_ended
from gateway.runtimes.embedded.journal import RUN_ROWS, FoundRun

_LONG: Final = {"overrides": "NULL", "variables": "'{}'", "observability": "NULL"}
"""What is not read, since it may be long."""
_RECORD: Final = RunRecord.__struct_fields__
_RESULTS: Final = f"place >= run * {RUN_ROWS} AND place < (run + 1) * {RUN_ROWS}"
_BEGUN: Final = f"EXISTS (SELECT 1 FROM results WHERE {_RESULTS})"
_COLUMNS: Final = ", ".join(
    [
        *(_LONG.get(field, f"runs.{field}") for field in _RECORD),
        f"status IS NULL AND {_BEGUN}",
        *(f"runs.{field}" for field in Outcome.__struct_fields__),
    ]
)
_OF_KEYS: Final = "FROM json_each(?) CROSS JOIN {table} ON run_id > value AND run_id < value || '~'"
_OF_ID: Final = "FROM {table} WHERE run_id = ?"


def read_found(db: sqlite3.Connection, keys: Sequence[int]) -> list[FoundRun]:
    """Read the runs with these keys, in the order of the keys. Those that have been deleted are left out."""
    prefixes = json.dumps([id_prefix(key) for key in keys])
    found = {key_of(run.record.run_id): run for run in _read(db, _OF_KEYS, prefixes)}
    for key in keys:
        if key not in found and (run_id := _early_id(db, key)) is not None:
            found.update((key, run) for run in _read(db, _OF_ID, run_id))
    return [found[key]._replace(key=key) for key in keys if key in found]


def _early_id(db: sqlite3.Connection, key: int) -> str | None:
    row = db.execute("SELECT run_id FROM early_runs WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _read(db: sqlite3.Connection, source: str, value: str) -> Iterator[FoundRun]:
    for (run,) in db.execute(f"SELECT run {source.format(table='ended_runs')}", (value,)):
        yield FoundRun(0, *read_ended(run), begun=True)
    for row in db.execute(f"SELECT {_COLUMNS} {source.format(table='runs')}", (value,)):
        yield _found(row)


def _found(row: Sequence[Any]) -> FoundRun:
    size = len(_RECORD)
    begun, status, *ended = row[size:]
    outcome = None if status is None else Outcome(RunState(status), *ended)
    return FoundRun(0, RunRecord(*row[:size]), outcome, begun=bool(begun))
