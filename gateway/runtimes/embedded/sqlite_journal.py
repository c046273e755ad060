"""The journal in a SQLite file."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import astuple, replace

from gateway.core.model import Blob, ItemResult, JsonText, RunState
from gateway.core.packed_texts import chunks_of
from gateway.core.run_filter import RunFilter
from gateway.core.runtime import Page, fill_page, text_size
from gateway.runtimes.embedded.arrivals import Arrivals, insert_inputs, is_large, read_inputs
from gateway.runtimes.embedded.blob_rows import find_blob, get_blob, peek_blob, put_blob
from gateway.runtimes.embedded.cancel_notes import SqliteCancelNotes, remove_cancel
from gateway.runtimes.embedded.change_log import ChangeLog
from gateway.runtimes.embedded.changed_rows import note_opening, read_changes
from gateway.runtimes.embedded.changes import Changes, Removal
from gateway.runtimes.embedded.deleted_rows import delete_runs
from gateway.runtimes.embedded.ended_rows import ended_results, ended_row, find_ended
from gateway.runtimes.embedded.index_tail import IndexTail
from gateway.runtimes.embedded.item_log import StoppedItem
from gateway.runtimes.embedded.item_rows import read_items
from gateway.runtimes.embedded.journal import (
    MAX_ITEMS,
    Completion,
    Ended,
    FinishedItems,
    FoundRun,
    Journal,
    KeptItems,
    Outcome,
    RunRecord,
    UnfinishedRun,
    of_page,
)
from gateway.runtimes.embedded.journal_contents import Contents, read_contents
from gateway.runtimes.embedded.journal_schema import SCHEMA
from gateway.runtimes.embedded.postings import Postings
from gateway.runtimes.embedded.removals import Removals
from gateway.runtimes.embedded.result_rows import PartOfPage, insert_results, read_results
from gateway.runtimes.embedded.run_ids import RUN_IDS
from gateway.runtimes.embedded.run_owners import namespace_of
from gateway.runtimes.embedded.run_search import is_exact
from gateway.runtimes.embedded.sqlite_index import Search
from gateway.runtimes.embedded.sqlite_upkeep import SqliteUpkeep
from gateway.runtimes.embedded.stopped_rows import insert_stopped, read_stopped
from gateway.runtimes.embedded.unfinished_rows import finished_items, read_unfinished
from gateway.runtimes.embedded.upkeep import Upkeep
from gateway.storage.sqlite_file import ROWS_TOGETHER, StateFile, insert_rows

_RECORD = ", ".join(RunRecord.__struct_fields__)
_OUTCOME = ", ".join(Outcome.__struct_fields__)
_OUTCOME_MARKS = ", ".join("?" * len(Outcome.__struct_fields__))
_RUNS = f"runs (run, {_RECORD}, {_OUTCOME})"
_OF_RUNS = ", ".join(f"runs.{field}" for field in RunRecord.__struct_fields__)
_NOT_ENDED = (None,) * len(Outcome.__struct_fields__)


class _EndedWithKey(NamedTuple):
    """A run with an idempotency key that has ended before it is accepted, and its number."""

    run: int
    record: RunRecord
    ended: Ended


class SqliteJournal(Journal):
    """Loses nothing if the process ends, at any moment."""

    @classmethod
    async def open(cls, path: Path) -> "SqliteJournal":
        """Open or create the state at `path`. Raises StateError if it is in use or cannot be read."""
        file = await StateFile.open(path, SCHEMA)
        opening = await file.read(read_contents)
        RUN_IDS.begin_after(opening.last_run_id)
        RUN_IDS.pass_by(max(opening.last_change, opening.last_early))
        journal = cls(file, opening)
        era, opened = journal.changes.era, journal.changes.opened
        await file.write(lambda db: note_opening(db, opening.epoch, era, opened))
        return journal

    def __init__(self, file: StateFile, opening: Contents) -> None:
        self.epoch = opening.epoch
        self.changes = ChangeLog(opening.epoch, opening.eras)
        self._tombstones = opening.tombstones
        self._file = file
        self.readiness = file.readiness
        self.cancel_notes = SqliteCancelNotes(file)
        self._last_before = RUN_IDS.last
        self._numbers = itertools.count(opening.last_run + 1)
        self._postings = Postings()
        file.on_rollback = self._postings.forget
        self._tail = IndexTail(file, self._postings)
        self._removals = Removals(file, opening.arriving)
        self._arrivals = Arrivals(file, self._removals)
        self._arriving_keys: dict[tuple[str, str | None], asyncio.Event] = {}
        self._further_reads = asyncio.Lock()

    @property
    def upkeep(self) -> Upkeep:
        return SqliteUpkeep(self._file, self._tail)

    async def put_blob(self, key: str, blob: Blob) -> None:
        await self._file.write(lambda db: put_blob(db, key, blob))

    async def get_blob(self, key: str) -> Blob | None:
        return await self._file.read(lambda db: get_blob(db, key))

    async def peek_blob(self, key: str) -> Blob | int | None:
        return await self._file.read(lambda db: peek_blob(db, key))

    async def find_blob(self, blob_id: str) -> str | None:
        return await self._file.read(lambda db: find_blob(db, blob_id))

    async def _create(self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None) -> RunRecord | None:
        if ended is not None and record.key is None:
            await self._file.append("ended_runs", ended_row(record, ended))
            self._tail.added(record, ended.outcome)
            return None
        while record.key is not None and (arriving := self._arriving_keys.get((record.scope, record.key))) is not None:
            await arriving.wait()
        if ended is None and is_large(inputs):
            return await self._create_large(record, inputs)
        run = next(self._numbers)
        if ended is not None:
            return await self._file.write_together(self._create_ended, _EndedWithKey(run, record, ended))
        return await self._file.write(lambda db: _create(db, self._postings, run, record, inputs))

    def drain(self) -> None:
        self._arrivals.drain()

    def withdraw(self, run_id: str) -> None:
        self._arrivals.withdraw(run_id)

    async def _complete(
        self, run_id: str, completions: Sequence[Completion], outcome: Outcome | None, stopped: Sequence[StoppedItem]
    ) -> None:
        def complete(db: sqlite3.Connection) -> None:
            if completions:
                first = _first_key(db, run_id)
                insert_results(db, [(first, done) for done in completions])
            if outcome is not None:
                _end(db, self._postings, run_id, outcome, stopped)

        await self._file.write(complete)

    async def _delete(self, runs: Sequence[tuple[RunRecord, Outcome]], removals: Sequence[Removal]) -> set[str]:
        deleted = await self._file.write(lambda db: delete_runs(db, self._postings, self._tombstones, runs, removals))
        self._removals.add(deleted.left)
        return deleted.run_ids

    async def load(self, run_id: str) -> tuple[RunRecord, Outcome | None] | None:
        return await self._file.read(lambda db: _load(db, run_id))

    async def find(self, scope: str, key: str) -> RunRecord | None:
        return await self._file.read(lambda db: _find(db, scope, key))

    async def unfinished(self, after: int) -> list[UnfinishedRun]:
        return await self._file.read(lambda db: read_unfinished(db, after, self._last_before))

    async def finished_items(self, run_id: str, start: int) -> FinishedItems:
        return await self._file.read(lambda db: finished_items(db, run_id, start))

    async def inputs(self, run_id: str, start: int) -> list[JsonText]:
        return await self._file.read(lambda db: read_inputs(db, _first_key(db, run_id), start))

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        results, rest = await self._file.read(lambda db: _results(db, run_id, page))
        while rest is not None:
            # Nothing yet. Such reads take turns, and only one of them at a time is before the reads of others.
            async with self._further_reads:
                results, rest = await self._file.read(lambda db, page=rest: _results(db, run_id, page))  # type: ignore[misc]
        return results

    async def search(
        self, wanted: RunFilter, after: int | None, *, newest_first: bool
    ) -> AsyncGenerator[list[FoundRun], None]:
        await self._tail.index()
        search = Search(wanted, after, newest_first=newest_first)
        while (found := await self._file.read(search.step)) is not None:
            if found:
                yield found

    async def count(self, wanted: RunFilter) -> int | None:
        if not is_exact(wanted):
            return None
        await self._tail.index()
        # The rows of the index are shorter than those of the tables.
        if not wanted.states and wanted.namespace is None:
            wanted = replace(wanted, states=tuple(RunState))
        search = Search(wanted, None, newest_first=False)
        number = 0
        while (keys := await self._file.read(search.keys)) is not None:
            number += len(keys)
        return number

    async def read_changes(self, after: int, until: int) -> Changes:
        return await self._file.read(lambda db: read_changes(db, after, until))

    def forgotten(self, namespace: str | None) -> int:
        return self._tombstones.forgotten(namespace)

    async def items(self, run_id: str, start: int, stop: int, states: Collection[RunState]) -> KeptItems:
        return await self._file.read(lambda db: _items(db, run_id, start, stop, states))

    async def stopped_items(self, run_id: str, start: int, stop: int) -> dict[int, bytes]:
        return await self._file.read(lambda db: read_stopped(db, _first_key(db, run_id), start, stop))

    async def finish_removals(self) -> None:
        """Wait until nothing is left of the runs that were deleted."""
        await self._removals.finish()

    async def close(self) -> None:
        self._arrivals.drain()
        await self._removals.close()
        await self._tail.close()
        await self._file.close()

    async def _settled(self) -> None:
        await self._file.write(_nothing)

    async def _create_large(self, record: RunRecord, inputs: Sequence[JsonText]) -> RunRecord | None:
        """Accept a run in several transactions. Other submits with its key wait until it has been accepted or not."""
        run = next(self._numbers)
        name, settled = (record.scope, record.key), asyncio.Event()
        if record.key is not None:
            self._arriving_keys[name] = settled
        try:
            taken = await self._file.write(lambda db: _begin(db, run, record))
            if taken is None:
                await self._arrivals.write(run, record.run_id, inputs)
                taken = await self._file.write(lambda db: _arrive(db, self._postings, run, record))
        except BaseException:
            self._arrivals.abandon(run)
            raise
        finally:
            if record.key is not None:
                del self._arriving_keys[name]
            settled.set()
        if taken is not None:
            self._arrivals.abandon(run)
        return taken

    def _create_ended(self, db: sqlite3.Connection, added: list[_EndedWithKey]) -> list[RunRecord | None]:
        """Accept runs with keys that have ended; returns for each the run that has its key already."""
        answers, created = _without_taken(db, added)
        insert_rows(db, _RUNS, [(run, *astuple(record), *astuple(ended.outcome)) for run, record, ended in created])
        insert_results(
            db,
            (
                (run * MAX_ITEMS, Completion(place, result))
                for run, _, ended in created
                for place, result in enumerate(ended.results)
            ),
        )
        self._postings.add(db, [(record, ended.outcome.status) for _, record, ended in created])
        return answers


def _nothing(_: sqlite3.Connection) -> None:
    """Be written after what came before."""


def _taken(db: sqlite3.Connection, record: RunRecord) -> RunRecord | None:
    """The run that has the key of a record."""
    return None if record.key is None else _find(db, record.scope, record.key)


def _find(db: sqlite3.Connection, scope: str, key: str) -> RunRecord | None:
    row = db.execute(f"SELECT {_RECORD} FROM runs WHERE scope = ? AND key = ?", (scope, key)).fetchone()
    return None if row is None else RunRecord(*row)


def _create(
    db: sqlite3.Connection, postings: Postings, run: int, record: RunRecord, inputs: Sequence[JsonText]
) -> RunRecord | None:
    if (taken := _taken(db, record)) is not None:
        return taken
    insert_rows(db, _RUNS, [(run, *astuple(record), *_NOT_ENDED)])
    postings.add(db, [(record, None)])
    first = run * MAX_ITEMS
    insert_inputs(db, [(first + place, text, number) for place, text, number in chunks_of(inputs)])
    return None


def _without_taken(
    db: sqlite3.Connection, added: list[_EndedWithKey]
) -> tuple[list[RunRecord | None], list[_EndedWithKey]]:
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


def _begin(db: sqlite3.Connection, run: int, record: RunRecord) -> RunRecord | None:
    """Let a run arrive, unless its key is taken."""
    taken = _taken(db, record)
    if taken is None:
        db.execute("INSERT INTO arriving VALUES (?)", (run,))
    return taken


def _arrive(db: sqlite3.Connection, postings: Postings, run: int, record: RunRecord) -> RunRecord | None:
    """The run exists from now on, unless its key is taken."""
    taken = _create(db, postings, run, record, ())
    if taken is None:
        db.execute("DELETE FROM arriving WHERE run = ?", (run,))
    return taken


def _end(
    db: sqlite3.Connection, postings: Postings, run_id: str, outcome: Outcome, stopped: Sequence[StoppedItem]
) -> None:
    update = f"UPDATE runs SET ({_OUTCOME}) = ({_OUTCOME_MARKS}) WHERE run_id = ? AND status IS NULL"
    ended = db.execute(f"{update} RETURNING run, root_id, owner", (*astuple(outcome), run_id)).fetchone()
    if ended is not None:
        run, root_id, owner = ended
        postings.end(db, run_id, outcome.status, nested=root_id is not None, namespace=namespace_of(owner))
        insert_stopped(db, run * MAX_ITEMS, stopped)
    if outcome.status is RunState.CANCELLED:
        remove_cancel(db, run_id)


def _first_key(db: sqlite3.Connection, run_id: str) -> int:
    """The first row key of the run; a negative key, matching no row, if it is unknown."""
    row = db.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return (-1 if row is None else int(row[0])) * MAX_ITEMS


def _load(db: sqlite3.Connection, run_id: str) -> tuple[RunRecord, Outcome | None] | None:
    row = db.execute(f"SELECT {_RECORD}, {_OUTCOME} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        ended_run = find_ended(db, run_id)
        return None if ended_run is None else ended_run[:2]
    record, ended = RunRecord(*row[: len(RunRecord.__struct_fields__)]), row[len(RunRecord.__struct_fields__) :]
    return record, None if ended[0] is None else Outcome(RunState(ended[0]), *ended[1:])


def _results(db: sqlite3.Connection, run_id: str, page: Page) -> PartOfPage:
    if (ended_run := find_ended(db, run_id)) is not None:
        return PartOfPage(fill_page(of_page(ended_results(ended_run), page), text_size))
    return read_results(db, _first_key(db, run_id), page)


def _items(db: sqlite3.Connection, run_id: str, start: int, stop: int, states: Collection[RunState]) -> KeptItems:
    if (ended_run := find_ended(db, run_id)) is not None:
        wanted = [result for result in ended_results(ended_run)[start:stop] if result.status in states]
        return KeptItems([(result, None) for result in wanted], stop)
    return read_items(db, _first_key(db, run_id), start, stop, states)
