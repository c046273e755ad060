"""A SQLite file that one process owns: one writer thread with group commit, one reader thread.

The writer commits some writes in one transaction, and only then tells their callers. All writes that arrive while it
runs wait for the next one, and share it: a commit waits for the disk. The writer gets them together, at the end of a
turn of the event loop: to wake it costs more than a write.
"""

import asyncio
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from gateway.concurrency.batches import BATCH
from gateway.core.errors import Unavailable

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

MAX_BATCH = 1024
"""How many writes share a commit at most: bounds how long the first of them waits."""


class StateError(Exception):
    """The state file cannot be used; the message says why, in one line."""


_ROWS_TOGETHER = (64, 16, 4, 1)
"""How many rows one statement appends. Each statement gives the interpreter's lock away and has to get it back from a
busy event loop, which takes longer than to insert a row."""


class Schema(NamedTuple):
    """What a file holds: the tables, made once, and a statement that each opening executes.

    `version` is kept in the file as its `user_version`. `upgrades` holds the statements that bring a file of an earlier
    version to the next one. Files of any other version, or for another purpose, are refused.
    """

    version: int
    tables: str
    opening: str = ""
    upgrades: Mapping[int, str] = MappingProxyType({})


class _Write(NamedTuple):
    """What is to be written: what an operation writes, or a row of a table."""

    done: "asyncio.Future[Any]"
    operation: Callable[[sqlite3.Connection], Any] | None = None
    table: str = ""
    row: tuple[Any, ...] = ()


class StateFile:
    """Survives the end of the process at any moment: WAL, synchronous commits."""

    @classmethod
    async def open(cls, path: Path, schema: Schema) -> "StateFile":
        """Open or create the file. Raises StateError if it is in use, cannot be read or holds something else."""
        loop = asyncio.get_running_loop()
        reader = ThreadPoolExecutor(1, "state-reader")
        try:
            lock, writing, reading = await loop.run_in_executor(reader, _connect, path, schema)
        except BaseException:
            reader.shutdown(wait=False)
            raise
        return cls(loop, lock, writing, reading, reader)

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lock: int,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        reader: ThreadPoolExecutor,
    ) -> None:
        self._loop = loop
        self._lock = lock
        self._writing = writing
        self._reading = reading
        self._reader = reader
        self._turn: list[_Write] = []
        self._durable: deque[tuple[_Write, Any]] = deque()
        self._committing = False
        self._writes: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_batches, name="state-writer", daemon=True)
        self._writer.start()

    async def read(self, operation: Callable[[sqlite3.Connection], _T]) -> _T:
        """Call `operation` in the reader's thread. Raises Unavailable if the file cannot be read."""
        try:
            return await self._loop.run_in_executor(self._reader, operation, self._reading)
        except sqlite3.Error as error:
            _log.error("the state cannot be read: %s", error)
            raise Unavailable("the state cannot be read", retry_after=1.0) from error

    async def write(self, operation: Callable[[sqlite3.Connection], _T]) -> _T:
        """Call `operation` in the writer's thread, and return its result when its changes are durable.

        Operations take effect in the order of the calls. Raises Unavailable if the file cannot be written.
        """
        done: asyncio.Future[_T] = self._loop.create_future()
        self._add(_Write(done, operation))
        return await done

    async def append(self, table: str, row: tuple[Any, ...]) -> None:
        """Write one more row, which conflicts with no other; durable on return.

        It takes effect after all operations that are committed with it, together with other rows of the table.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._add(_Write(done, table=table, row=row))
        await done

    async def close(self) -> None:
        """Commit what is queued, then release the file."""
        self._writes.put(self._turn)
        self._turn = []
        self._writes.put(None)
        await self._loop.run_in_executor(self._reader, self._writer.join)
        self._reader.shutdown()
        self._reading.close()
        self._writing.close()
        os.close(self._lock)

    def _add(self, write: _Write) -> None:
        if not self._turn and not self._committing:
            self._loop.call_soon(self._hand_over)
        self._turn.append(write)

    def _hand_over(self) -> None:
        """Let the writer have the writes of this turn, or of all turns since its last commit began."""
        if self._turn and not self._committing:
            self._committing = True
            self._writes.put(self._turn[:MAX_BATCH])
            del self._turn[:MAX_BATCH]

    def _committed(self) -> None:
        """The writer waits for more. It gets what has come in between, and what callers write that are told now."""
        self._committing = False
        if self._turn:
            self._loop.call_soon(self._hand_over)

    def _write_batches(self) -> None:
        """The writer thread."""
        while (batch := self._writes.get()) is not None:
            try:
                answers = self._commit(batch)
            except sqlite3.Error as error:
                _log.error("the state cannot be written: %s", error)
                failure = Unavailable("the state cannot be written", retry_after=1.0)
                self._loop.call_soon_threadsafe(self._fail, batch, failure)
            except Exception as error:
                _log.exception("a write failed")
                self._loop.call_soon_threadsafe(self._fail, batch, error)
            else:
                self._loop.call_soon_threadsafe(self._resolve, batch, answers)

    def _resolve(self, batch: list[_Write], answers: list[Any]) -> None:
        """Tell the callers that their writes are durable, in the order of the writes, and a few in each turn."""
        self._durable.extend(zip(batch, answers, strict=True))
        if len(self._durable) == len(batch):
            self._resolve_some()
        self._committed()

    def _resolve_some(self) -> None:
        for _ in range(min(BATCH, len(self._durable))):
            write, answer = self._durable.popleft()
            if not write.done.done():
                write.done.set_result(answer)
        if self._durable:
            self._loop.call_soon(self._resolve_some)

    def _fail(self, batch: list[_Write], error: Exception) -> None:
        for write in batch:
            if not write.done.done():
                write.done.set_exception(error)
        self._committed()

    def _commit(self, batch: list[_Write]) -> list[Any]:
        """Execute a batch in one transaction: all of it, or nothing."""
        db = self._writing
        db.execute("BEGIN IMMEDIATE")
        try:
            answers = [write.operation(db) if write.operation else None for write in batch]
            _append(db, batch)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return answers


def insert_rows(db: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows into a table, several by each statement."""
    start = 0
    for number in _ROWS_TOGETHER:
        while len(rows) - start >= number:
            marks = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * number)
            values = [value for row in rows[start : start + number] for value in row]
            db.execute(f"INSERT INTO {table} VALUES {marks}", values)
            start += number


def _append(db: sqlite3.Connection, batch: list[_Write]) -> None:
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for write in batch:
        if write.table:
            rows.setdefault(write.table, []).append(write.row)
    for table, added in rows.items():
        insert_rows(db, table, added)


def _connect(path: Path, schema: Schema) -> tuple[int, sqlite3.Connection, sqlite3.Connection]:
    """Lock the file, bring its schema up and return the lock and the two connections."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"cannot open the state {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        writing = _connection(path)
        try:
            _prepare(writing, path, schema)
            return lock, writing, _connection(path)
        except BaseException:
            writing.close()
            raise
    except BlockingIOError as error:
        os.close(lock)
        raise StateError(f"the state {path} is in use by another process") from error
    except sqlite3.Error as error:
        os.close(lock)
        raise StateError(f"cannot use the state {path}: {error}") from error
    except StateError:
        os.close(lock)
        raise


def _prepare(db: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Make the tables, or bring those of an older version up. Raises StateError if the file holds something else."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, schema.version, *schema.upgrades):
        raise StateError(
            f"the state {path} was written for another runtime or by another version of runs-gateway (schema {version})"
        )
    db.execute("PRAGMA journal_mode = WAL")
    if version == 0:
        db.executescript(f"BEGIN; {schema.tables} PRAGMA user_version = {schema.version}; COMMIT;")
    while 0 < version < schema.version:
        db.executescript(f"BEGIN; {schema.upgrades[version]} PRAGMA user_version = {version + 1}; COMMIT;")
        version += 1
    db.execute(schema.opening)


def _connection(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -65536")
    except sqlite3.Error:
        db.close()
        raise
    return db
