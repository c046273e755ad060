"""The journal in a SQLite file."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path

from msgspec.structs import replace

from gateway.core.model import Blob, ItemResult, JsonText, RunState
from gateway.core.run_filter import RunFilter
from gateway.core.runtime import Page, fill_page, text_size, text_sizes
from gateway.flows.item_log import StoppedItem
from gateway.flows.run_ids import RUN_IDS, key_of
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.arrivals import Arrivals, is_large, read_inputs
from gateway.runtimes.embedded.blob_rows import find_blob, get_blob, peek_blob, put_blob
from gateway.runtimes.embedded.cancel_notes import SqliteCancelNotes
from gateway.runtimes.embedded.change_log import ChangeLog
from gateway.runtimes.embedded.changed_rows import note_opening, read_changes
from gateway.runtimes.embedded.changes import Changes, Removal
from gateway.runtimes.embedded.deleted_rows import Deleted, delete_runs
from gateway.runtimes.embedded.ended_rows import ended_results, ended_row, find_ended
from gateway.runtimes.embedded.index_tail import IndexTail
from gateway.runtimes.embedded.item_rows import read_items
from gateway.runtimes.embedded.journal import (
    Completion,
    Ended,
    FinishedItems,
    FoundRun,
    Journal,
    KeptItems,
    UnfinishedRun,
    of_page,
)
from gateway.runtimes.embedded.journal_contents import Contents, read_contents
from gateway.runtimes.embedded.journal_schema import SCHEMA
from gateway.runtimes.embedded.postings import Postings
from gateway.runtimes.embedded.removals import Removals
from gateway.runtimes.embedded.result_rows import PartOfPage, insert_results, read_results
from gateway.runtimes.embedded.run_rows import EndedWithKey, RunRows, find_run, first_key, load_run
from gateway.runtimes.embedded.run_search import is_exact
from gateway.runtimes.embedded.sqlite_index import Search
from gateway.runtimes.embedded.sqlite_upkeep import SqliteUpkeep
from gateway.runtimes.embedded.stopped_rows import read_stopped
from gateway.runtimes.embedded.stored_bytes import EndedSize, run_bytes
from gateway.runtimes.embedded.unfinished_rows import finished_items, read_unfinished
from gateway.runtimes.embedded.upkeep import Upkeep
from gateway.storage.sqlite_file import StateFile


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
        self._stored = opening.stored
        self._rows = RunRows(self._postings, self._stored)
        file.before_commit, file.on_commit, file.on_rollback = self._stored.write, self._stored.committed, self._undone
        self._tail = IndexTail(file, self._postings, self._stored)
        self._removals = Removals(file, opening.arriving)
        self._arrivals = Arrivals(file, self._removals)
        self._arriving_keys: dict[tuple[str, str | None], asyncio.Event] = {}
        self._further_reads = asyncio.Lock()

    @property
    def upkeep(self) -> Upkeep:
        return SqliteUpkeep(self._file, self._tail, self._stored)

    async def put_blob(self, key: str, blob: Blob) -> None:
        await self._file.write(lambda db: put_blob(db, self._stored, key, blob))

    async def get_blob(self, key: str) -> Blob | None:
        return await self._file.read(lambda db: get_blob(db, key))

    async def peek_blob(self, key: str) -> Blob | int | None:
        return await self._file.read(lambda db: peek_blob(db, key))

    async def find_blob(self, blob_id: str) -> str | None:
        return await self._file.read(lambda db: find_blob(db, blob_id))

    async def _create(self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None) -> RunRecord | None:
        if ended is not None and record.key is None:
            row = ended_row(record, ended)
            await self._file.append("ended_runs", row)
            self._tail.added(record, ended.outcome, len(row[1]))
            return None
        while record.key is not None and (arriving := self._arriving_keys.get((record.scope, record.key))) is not None:
            await arriving.wait()
        if ended is None and is_large(inputs):
            return await self._create_large(record, inputs)
        run = next(self._numbers)
        if ended is not None:
            return await self._file.write_together(self._rows.create_ended, EndedWithKey(run, record, ended))
        size = run_bytes(record, inputs)
        taken = await self._file.write(lambda db: self._rows.create(db, run, record, inputs, size))
        if taken is None:
            self._stored.begin(record, size)
        return taken

    def drain(self) -> None:
        self._arrivals.drain()

    def withdraw(self, run_id: str) -> None:
        self._arrivals.withdraw(run_id)

    async def _complete(
        self, run_id: str, completions: Sequence[Completion], outcome: Outcome | None, stopped: Sequence[StoppedItem]
    ) -> None:
        size = text_sizes([completion.result for completion in completions])
        produced = self._stored.results_of(run_id) + size

        def complete(db: sqlite3.Connection) -> EndedSize | None:
            if completions:
                first = first_key(db, run_id)
                insert_results(db, [(first, done) for done in completions])
            return None if outcome is None else self._rows.end(db, run_id, outcome, stopped, produced)

        ended = await self._file.write(complete)
        if outcome is None:
            self._stored.produced(run_id, size)
        else:
            self._stored.end(run_id, ended, restored=(key_of(run_id) or 0) <= self._last_before)

    async def _delete(self, runs: Sequence[tuple[RunRecord, Outcome]], removals: Sequence[Removal]) -> set[str]:
        def delete(db: sqlite3.Connection) -> Deleted:
            deleted = delete_runs(db, self._postings, self._stored, runs)
            self._tombstones.insert(db, [gone for gone in removals if gone.tombstone.run_id in deleted.run_ids])
            return deleted

        deleted = await self._file.write(delete)
        self._removals.add(deleted.left)
        return deleted.run_ids

    async def load(self, run_id: str) -> tuple[RunRecord, Outcome | None] | None:
        return await self._file.read(lambda db: load_run(db, run_id))

    async def find(self, scope: str, key: str) -> RunRecord | None:
        return await self._file.read(lambda db: find_run(db, scope, key))

    async def unfinished(self, after: int) -> list[UnfinishedRun]:
        return await self._file.read(lambda db: read_unfinished(db, after, self._last_before))

    async def finished_items(self, run_id: str, start: int) -> FinishedItems:
        return await self._file.read(lambda db: finished_items(db, run_id, start))

    async def inputs(self, run_id: str, start: int) -> list[JsonText]:
        return await self._file.read(lambda db: read_inputs(db, first_key(db, run_id), start))

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        results, rest = await self._file.read(lambda db: _results(db, run_id, page))
        while rest is not None:
            # Nothing yet. Such reads take turns, and only one of them at a time is before the reads of others.
            async with self._further_reads:
                results, rest = await self._file.read(lambda db, page=rest: _results(db, run_id, page))  # type: ignore[misc]
        return results

    def stored_bytes(self, namespace: str) -> int:
        return max(0, self._stored.of(namespace) + self._tail.bytes_of(namespace))

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
        search = Search(wanted, None, newest_first=False, exact=True)
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
        return await self._file.read(lambda db: read_stopped(db, first_key(db, run_id), start, stop))

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
            taken = await self._file.write(lambda db: self._rows.begin(db, run, record))
            if taken is None:
                size = run_bytes(record, ()) + await self._arrivals.write(run, record.run_id, inputs)
                taken = await self._file.write(lambda db: self._rows.arrive(db, run, record, size))
                if taken is None:
                    self._stored.begin(record, size)
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

    def _undone(self) -> None:
        self._postings.forget()
        self._stored.undone()


def _nothing(_: sqlite3.Connection) -> None:
    """Be written after what came before."""


def _results(db: sqlite3.Connection, run_id: str, page: Page) -> PartOfPage:
    if (ended_run := find_ended(db, run_id)) is not None:
        return PartOfPage(fill_page(of_page(ended_results(ended_run), page), text_size))
    return read_results(db, first_key(db, run_id), page)


def _items(db: sqlite3.Connection, run_id: str, start: int, stop: int, states: Collection[RunState]) -> KeptItems:
    if (ended_run := find_ended(db, run_id)) is not None:
        wanted = [result for result in ended_results(ended_run)[start:stop] if result.status in states]
        return KeptItems([(result, None) for result in wanted], stop)
    return read_items(db, first_key(db, run_id), start, stop, states)
