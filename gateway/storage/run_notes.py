"""What a gateway knows of runs that execute elsewhere, and that their engine does not keep.

That is what they were submitted with, and how they have ended by a call of this gateway: an engine may tell another end
later.
"""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.errors import StateUnavailable
from gateway.core.internal_errors import release_frames
from gateway.core.model import RunStatus
from gateway.core.owner import Owner
from gateway.storage.sqlite_file import StateFile

MEMORY_NOTES: Final = 100_000
MEMORY_BYTES: Final = 64 << 20
"""Of how many runs notes are kept in memory if there is no file, and about how much they may take; beyond it, the
earliest are forgotten. A file keeps all, for ever."""

CACHED_NOTES: Final = 10_000
CACHED_BYTES: Final = 16 << 20
"""Of how many runs it is known without reading the file what there is, and about how much memory that may take."""

RETRY_SECONDS: Final = 1.0
"""Seconds before a note is written again that could not be written."""

NOTES_TABLE: Final = """
CREATE TABLE notes (run_id TEXT PRIMARY KEY, parent_run_id TEXT, submitted BLOB, ended BLOB) WITHOUT ROWID;
CREATE INDEX notes_by_parent ON notes (parent_run_id) WHERE parent_run_id IS NOT NULL;
"""

_ENTRY_BYTES: Final = 300
_END_BYTES: Final = 2_000
"""About what a note takes, each of its labels, and an end."""

_SUBMITTED: Final = (
    "INSERT INTO notes (run_id, parent_run_id, submitted) VALUES (?, ?, ?) "
    "ON CONFLICT DO UPDATE SET parent_run_id = excluded.parent_run_id, submitted = excluded.submitted"
)
_ENDED: Final = (
    "INSERT INTO notes (run_id, ended) VALUES (?, ?) "
    "ON CONFLICT DO UPDATE SET ended = excluded.ended WHERE ended IS NULL"
)


class SubmitNote(Struct, frozen=True, omit_defaults=True):
    """What a run was submitted with, the runs that it is inside, and to whom it belongs."""

    flow_label: str | None = None
    labels: dict[str, str] = {}
    parent_run_id: str | None = None
    root_run_id: str | None = None
    depth: int = 0
    owner: Owner | None = None


class RunNote(Struct, frozen=True):
    """What is known of a run: how it was submitted, and its end, without results."""

    submitted: SubmitNote = SubmitNote()
    ended: RunStatus | None = None


class RunNotes(ABC):
    """The notes of a gateway."""

    @abstractmethod
    async def of(self, run_ids: Iterable[str]) -> dict[str, RunNote]:
        """Return the notes of those runs of which there are any."""

    @abstractmethod
    async def children(self, run_id: str) -> list[str]:
        """Return the ids of the runs that a run has submitted, as far as it was noted."""

    @abstractmethod
    def begun(self, run_id: str) -> None:
        """Know that there are no notes of a run, since it has just been accepted."""

    @abstractmethod
    async def submitted(self, run_id: str, note: SubmitNote) -> None:
        """Keep what a run was submitted with, durably if there is a file. It is tried until it succeeds."""

    @abstractmethod
    async def ended(self, status: RunStatus) -> RunStatus:
        """Keep the end of a run, unless there is one already; return the one that is kept.

        Raises StateUnavailable if it cannot be written.
        """


class MemoryNotes(RunNotes):
    """Notes of the latest runs, which end with the process."""

    def __init__(self) -> None:
        self._notes: BoundedCache[str, RunNote] = BoundedCache(MEMORY_NOTES, MEMORY_BYTES)
        self._children: BoundedCache[str, dict[str, None]] = BoundedCache(MEMORY_NOTES)

    async def of(self, run_ids: Iterable[str]) -> dict[str, RunNote]:
        found = ((run_id, self._notes.get(run_id)) for run_id in run_ids)
        return {run_id: note for run_id, note in found if note is not None}

    def begun(self, run_id: str) -> None:
        pass  # What is not there is not looked for elsewhere.

    async def children(self, run_id: str) -> list[str]:
        return list(self._children.get(run_id) or ())

    async def submitted(self, run_id: str, note: SubmitNote) -> None:
        known = self._notes.get(run_id)
        self._put(run_id, RunNote(note, known.ended if known else None))
        if note.parent_run_id is not None:
            children = self._children.get(note.parent_run_id) or {}
            children[run_id] = None
            if len(children) > MEMORY_NOTES:
                del children[next(iter(children))]
            self._children.put(note.parent_run_id, children)

    async def ended(self, status: RunStatus) -> RunStatus:
        known = self._notes.get(status.run_id) or RunNote()
        if known.ended is None:
            known = RunNote(known.submitted, status)
            self._put(status.run_id, known)
        return known.ended or status

    def _put(self, run_id: str, note: RunNote) -> None:
        self._notes.put(run_id, note, _size(note))


class FileNotes(RunNotes):
    """Notes in a file that has NOTES_TABLE; the caller closes it."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._cached: BoundedCache[str, RunNote] = BoundedCache(CACHED_NOTES, CACHED_BYTES)

    async def of(self, run_ids: Iterable[str]) -> dict[str, RunNote]:
        wanted = list(run_ids)
        unread = [run_id for run_id in wanted if run_id not in self._cached]
        read: dict[str, RunNote] = {}
        if unread:
            read = await self._file.read(lambda db: dict(_notes(db, unread)))
            for run_id in unread:
                # A write may have come in between, and knows better.
                if run_id not in self._cached:
                    self._put(run_id, read.get(run_id, RunNote()))
        found = {run_id: self._cached.get(run_id) or read.get(run_id) for run_id in wanted}
        return {run_id: note for run_id, note in found.items() if note is not None and note != RunNote()}

    def begun(self, run_id: str) -> None:
        if run_id not in self._cached:
            self._put(run_id, RunNote())

    async def children(self, run_id: str) -> list[str]:
        def select(db: sqlite3.Connection) -> list[str]:
            return [child for (child,) in db.execute("SELECT run_id FROM notes WHERE parent_run_id = ?", (run_id,))]

        return await self._file.read(select)

    async def submitted(self, run_id: str, note: SubmitNote) -> None:
        row = (run_id, note.parent_run_id, msgspec.msgpack.encode(note))
        while True:
            try:
                await self._file.write(lambda db: db.execute(_SUBMITTED, row))
                break
            except StateUnavailable as error:
                release_frames(error)
            await asyncio.sleep(RETRY_SECONDS)
        await self._refresh(run_id)

    async def ended(self, status: RunStatus) -> RunStatus:
        row = (status.run_id, msgspec.msgpack.encode(status))
        await self._file.write(lambda db: db.execute(_ENDED, row))
        return (await self._refresh(status.run_id)).ended or status

    async def _refresh(self, run_id: str) -> RunNote:
        note = (await self._file.read(lambda db: dict(_notes(db, [run_id])))).get(run_id, RunNote())
        self._put(run_id, note)
        return note

    def _put(self, run_id: str, note: RunNote) -> None:
        self._cached.put(run_id, note, _size(note))


def _size(note: RunNote) -> int:
    """About how much memory a note takes, in bytes."""
    labels = note.submitted.labels
    size = _ENTRY_BYTES if note.ended is None else _ENTRY_BYTES + _END_BYTES
    return size + sum(_ENTRY_BYTES + len(name) + len(value) for name, value in labels.items())


def _notes(db: sqlite3.Connection, run_ids: list[str]) -> Iterable[tuple[str, RunNote]]:
    for run_id in run_ids:
        row = db.execute("SELECT submitted, ended FROM notes WHERE run_id = ?", (run_id,)).fetchone()
        if row is not None:
            submitted = SubmitNote() if row[0] is None else msgspec.msgpack.decode(row[0], type=SubmitNote)
            ended = None if row[1] is None else msgspec.msgpack.decode(row[1], type=RunStatus)
            yield run_id, RunNote(submitted, ended)
