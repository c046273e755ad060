"""The rows of the table `runs`, written with what belongs to them, the index, and the count of stored bytes."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import astuple

from gateway.core.model import JsonText, RunState
from gateway.core.packed_texts import chunks_of
from gateway.core.runtime import text_sizes
from gateway.flows.item_log import StoppedItem
from gateway.flows.run_owners import namespace_of
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.arrivals import insert_inputs
from gateway.runtimes.embedded.cancel_notes import remove_cancel
from gateway.runtimes.embedded.ended_rows import find_ended
from gateway.runtimes.embedded.journal import RUN_ROWS, Completion, Ended
from gateway.runtimes.embedded.postings import Postings
from gateway.runtimes.embedded.result_rows import insert_results
from gateway.runtimes.embedded.stopped_rows import insert_stopped
from gateway.runtimes.embedded.stored_bytes import EndedSize, StoredBytes, run_bytes
from gateway.storage.sqlite_file import ROWS_TOGETHER, insert_rows

_RECORD = ", ".join(RunRecord.__struct_fields__)
_OUTCOME = ", ".join(Outcome.__struct_fields__)
_OUTCOME_MARKS = ", ".join("?" * len(Outcome.__struct_fields__))
_RUNS = f"runs (run, bytes, {_RECORD}, {_OUTCOME})"
_OF_RUNS = ", ".join(f"runs.{field}" for field in RunRecord.__struct_fields__)
_NOT_ENDED = (None,) * len(Outcome.__struct_fields__)


class EndedWithKey(NamedTuple):
    """A run with an idempotency key that has ended before it is accepted, and its number."""

    run: int
    record: RunRecord
    ended: Ended


class RunRows:
    """Writes rows of runs. All methods are called within a transaction, in the thread that writes.

    A method returns the run that has the key of a new one already; then it has written nothing.
    """

    def __init__(self, postings: Postings, stored: StoredBytes) -> None:
        self._postings = postings
        self._stored = stored

    def create(
        self, db: sqlite3.Connection, run: int, record: RunRecord, inputs: Sequence[JsonText], size: int
    ) -> RunRecord | None:
        """Accept a run, which takes so many bytes."""
        if (taken := _taken(db, record)) is not None:
            return taken
        insert_rows(db, _RUNS, [(run, size, *astuple(record), *_NOT_ENDED)])
        self._postings.add(db, [(record, None)])
        first = run * RUN_ROWS
        insert_inputs(db, [(first + place, text, number) for place, text, number in chunks_of(inputs)])
        return None

    def begin(self, db: sqlite3.Connection, run: int, record: RunRecord) -> RunRecord | None:
        """Let a run arrive."""
        taken = _taken(db, record)
        if taken is None:
            db.execute("INSERT INTO arriving VALUES (?)", (run,))
        return taken

    def arrive(self, db: sqlite3.Connection, run: int, record: RunRecord, size: int) -> RunRecord | None:
        """The run exists from now on."""
        taken = self.create(db, run, record, (), size)
        if taken is None:
            db.execute("DELETE FROM arriving WHERE run = ?", (run,))
        return taken

    def create_ended(self, db: sqlite3.Connection, added: list[EndedWithKey]) -> list[RunRecord | None]:
        """Accept runs with keys that have ended; returns for each the run that has its key already."""
        answers, created = _without_taken(db, added)
        sizes = [run_bytes(record, ()) + text_sizes(ended.results) for _, record, ended in created]
        rows = zip(sizes, created, strict=True)
        insert_rows(
            db, _RUNS, [(run, size, *astuple(record), *astuple(end.outcome)) for size, (run, record, end) in rows]
        )
        for size, (_, record, _) in zip(sizes, created, strict=True):
            self._stored.add(record.namespace, size)
        insert_results(
            db,
            (
                (run * RUN_ROWS, Completion(place, result))
                for run, _, ended in created
                for place, result in enumerate(ended.results)
            ),
        )
        self._postings.add(db, [(record, ended.outcome.status) for _, record, ended in created])
        return answers

    def end(
        self, db: sqlite3.Connection, run_id: str, outcome: Outcome, stopped: Sequence[StoppedItem], produced: int
    ) -> EndedSize | None:
        """A run ends, and has produced so many bytes. Returns None if it has ended before."""
        changes = f"({_OUTCOME}, bytes) = ({_OUTCOME_MARKS}, coalesce(bytes, 0) + ?)"
        update = f"UPDATE runs SET {changes} WHERE run_id = ? AND status IS NULL RETURNING run, root_id, owner, bytes"
        row = db.execute(update, (*astuple(outcome), produced, run_id)).fetchone()
        ended = None
        if row is not None:
            run, root_id, owner, size = row
            ended = EndedSize(namespace_of(owner), size - produced)
            self._postings.end(db, run_id, outcome.status, nested=root_id is not None, namespace=ended.namespace)
            self._stored.add(ended.namespace, size)
            insert_stopped(db, run * RUN_ROWS, stopped)
        if outcome.status is RunState.CANCELLED:
            remove_cancel(db, run_id)
        return ended


def find_run(db: sqlite3.Connection, scope: str, key: str) -> RunRecord | None:
    """The run that has a scope and a key."""
    row = db.execute(f"SELECT {_RECORD} FROM runs WHERE scope = ? AND key = ?", (scope, key)).fetchone()
    return None if row is None else RunRecord(*row)


def load_run(db: sqlite3.Connection, run_id: str) -> tuple[RunRecord, Outcome | None] | None:
    """A run, and its outcome if it has ended."""
    row = db.execute(f"SELECT {_RECORD}, {_OUTCOME} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        ended_run = find_ended(db, run_id)
        return None if ended_run is None else ended_run[:2]
    record, ended = RunRecord(*row[: len(RunRecord.__struct_fields__)]), row[len(RunRecord.__struct_fields__) :]
    return record, None if ended[0] is None else Outcome(RunState(ended[0]), *ended[1:])


def first_key(db: sqlite3.Connection, run_id: str) -> int:
    """The first row key of the run; a negative key, matching no row, if it is unknown."""
    row = db.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return (-1 if row is None else int(row[0])) * RUN_ROWS


def _taken(db: sqlite3.Connection, record: RunRecord) -> RunRecord | None:
    """The run that has the key of a record."""
    return None if record.key is None else find_run(db, record.scope, record.key)


def _without_taken(
    db: sqlite3.Connection, added: list[EndedWithKey]
) -> tuple[list[RunRecord | None], list[EndedWithKey]]:
    """For each of some runs the one that has its key already, and the runs whose keys were free."""
    taken = _find_all(db, [(record.scope, str(record.key)) for _, record, _ in added])
    answers, created = [], []
    for each in added:
        name = (each.record.scope, str(each.record.key))
        answers.append(taken.get(name))
        if name not in taken:
            taken[name] = each.record
            created.append(each)
    return answers, created


def _find_all(db: sqlite3.Connection, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], RunRecord]:
    """The runs that have these scopes and keys."""
    found = {}
    for start in range(0, len(names), ROWS_TOGETHER):
        some = names[start : start + ROWS_TOGETHER]
        marks = ", ".join(["(?, ?)"] * len(some))
        rows = db.execute(
            f"WITH names (scope, key) AS (VALUES {marks}) SELECT {_OF_RUNS} FROM names CROSS JOIN runs "
            "ON runs.scope = names.scope AND runs.key = names.key",
            [text for name in some for text in name],
        )
        for row in rows:
            record = RunRecord(*row)
            found[record.scope, str(record.key)] = record
    return found
