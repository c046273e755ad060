"""A SQLite file that one process owns: one writer thread with group commit, one reader thread.

The writer commits some writes in one transaction, and only then tells their callers. All writes that arrive while it
runs wait for the next one, and share it: a commit waits for the disk. The writer gets them together, at the end of a
turn of the event loop: to wake it costs more than a write.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gateway.concurrency.batches import BATCH
from gateway.core.errors import StateUnavailable
from gateway.core.readiness import Readiness
from gateway.storage.owned_file import OwnedFile, StateError
from gateway.storage.sqlite_opening import Schema, SqliteConnections, open_connections
from gateway.storage.sqlite_problems import problem_of
from gateway.telemetry.gateway_metrics import STATE_COMMIT, STATE_COMMIT_WRITES, STATE_FILE

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_log = logging.getLogger(__name__)

MAX_BATCH = 1024
"""How many writes share a commit at most: bounds how long the first of them waits."""

LOOK_SECONDS = 1.0
"""Seconds between two looks whether the file is in its place and, if it could not be written, whether it can be."""

ROWS_TOGETHER = 64
"""How many rows one statement inserts at most. Each statement gives the interpreter's lock away and has to get it back
from a busy event loop, which takes longer than to insert a row."""


class _LostError(Exception):
    """What is written would be lost."""


_CONTRADICTED = "the state contradicts itself"

_OF_ONE_WRITE = (sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""Errors that say nothing about the file."""


class _Write(NamedTuple):
    """What is to be written: what an operation writes, or an item of those that an operation writes together, or a row
    of a table.
    """

    done: "asyncio.Future[Any]"
    operation: Callable[[sqlite3.Connection], Any] | None = None
    together: Callable[[sqlite3.Connection, list[Any]], Sequence[Any]] | None = None
    item: Any = None
    table: str = ""


class StateFile:
    """Survives the end of the process at any moment: WAL, synchronous commits.

    `readiness` tells whether it can be written: not while the disk is full, nor after somebody has deleted the file.
    """

    @classmethod
    async def open(cls, path: Path, schema: Schema) -> "StateFile":
        """Open or create the file. Raises StateError if it is in use, cannot be read or holds something else."""
        loop = asyncio.get_running_loop()
        reader = ThreadPoolExecutor(1, "state-reader")
        try:
            file, connections = await loop.run_in_executor(reader, _open, path, schema)
        except BaseException:
            reader.shutdown(wait=False)
            raise
        return cls(loop, file, connections, reader)

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        file: OwnedFile,
        connections: SqliteConnections,
        reader: ThreadPoolExecutor,
    ) -> None:
        self.readiness = Readiness()
        self.on_rollback: Callable[[], None] | None = None
        """Called in the writer's thread when what operations have written is undone."""
        self.before_commit: Callable[[sqlite3.Connection], None] | None = None
        self.on_commit: Callable[[], None] | None = None
        """Called there within each transaction of operations, after them, and when it has been committed."""
        self._loop = loop
        self._file = file
        self._contradicted = False
        self._writing, self._reading = connections
        self._reader = reader
        self._turn: list[_Write] = []
        self._durable: deque[tuple[_Write, Any]] = deque()
        self._committing = False
        self._writes: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_batches, name="state-writer", daemon=True)
        self._writer.start()
        self._size = file.size()
        self._gauges = ExitStack()
        self._gauges.enter_context(STATE_FILE.read_from(lambda: self._size))
        self._watching = loop.create_task(self._watch())

    async def read(self, operation: Callable[[sqlite3.Connection], _T]) -> _T:
        """Call `operation` in the reader's thread. Raises StateUnavailable if the file cannot be read."""
        try:
            return await self._loop.run_in_executor(self._reader, operation, self._reading)
        except sqlite3.Error as error:
            _log.error("the state cannot be read: %s", error)
            raise StateUnavailable("the state cannot be read", retry_after=1.0) from error

    async def write(self, operation: Callable[[sqlite3.Connection], _T]) -> _T:
        """Call `operation` in the writer's thread, and return its result when its changes are durable.

        Operations take effect in the order of the calls. Raises StateUnavailable if the file cannot be written.
        """
        done: asyncio.Future[_T] = self._loop.create_future()
        self._add(_Write(done, operation))
        return await done

    async def write_together(
        self, operation: Callable[[sqlite3.Connection, list[_Item]], Sequence[_T]], item: _Item
    ) -> _T:
        """Like `write`, for an operation that is called once for the items of all calls that are committed together.

        It returns an answer for each item. It takes effect after all operations of single calls.
        """
        done: asyncio.Future[_T] = self._loop.create_future()
        self._add(_Write(done, together=operation, item=item))
        return await done

    async def append(self, table: str, row: tuple[Any, ...]) -> None:
        """Write one more row, which conflicts with no other; durable on return.

        It takes effect after all operations that are committed with it, together with other rows of the table.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._add(_Write(done, item=row, table=table))
        await done

    async def close(self) -> None:
        """Commit what is queued, then release the file."""
        self._gauges.close()
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        if self._turn:
            self._writes.put(self._turn)
            self._turn = []
        self._writes.put(None)
        await self._loop.run_in_executor(self._reader, self._writer.join)
        self._reader.shutdown()
        SqliteConnections(self._writing, self._reading).close()
        self._file.release()

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
            began = time.monotonic()
            try:
                answers = self._commit(batch)
                STATE_COMMIT.observe(time.monotonic() - began)
                STATE_COMMIT_WRITES.observe(len(batch))
            except Exception as error:
                self._loop.call_soon_threadsafe(self._fail, batch, error)
            else:
                self._loop.call_soon_threadsafe(self._resolve, batch, answers)

    def _resolve(self, batch: list[_Write], answers: list[Any]) -> None:
        """Tell the callers that their writes are durable, in the order of the writes, and a few in each turn."""
        if self.readiness.obstacle is not None:
            self._report(None)
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
        failure = self._failure(error)
        for write in batch:
            if not write.done.done():
                write.done.set_exception(failure)
        self._committed()

    def _failure(self, error: Exception) -> Exception:
        """What the callers of writes are told that failed with `error`. Health is told as well, and the log."""
        match error:
            case _LostError():
                self._report(str(error))
            case sqlite3.IntegrityError():
                # Rows that exist twice, or not at all: two have written the file, or this program is wrong.
                _log.critical(_CONTRADICTED, exc_info=error)
                self.readiness.report_defect(
                    f"the state {self._file.path} contradicts what is to be written ({error}): this is a defect, and "
                    "the gateway stops; keep the file and the log, and report it"
                )
                self.readiness.report(_CONTRADICTED)
            case sqlite3.Error() if not isinstance(error, _OF_ONE_WRITE):
                self._report(f"the state cannot be written: {problem_of(error, self._file.path)}")
            case _:
                _log.error("a write failed", exc_info=error)
                return error
        return StateUnavailable("the state cannot be written", retry_after=1.0)

    def _report(self, obstacle: str | None) -> None:
        """Tell health, and the log if it is news."""
        if obstacle != self.readiness.obstacle:
            _log.error("%s", obstacle) if obstacle else _log.warning("the state can be written again")
        self.readiness.report(obstacle)

    async def _watch(self) -> None:
        """Look whether the file is in its place, and whether one that could not be written can be again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._size = await self._loop.run_in_executor(self._reader, self._file.size)
            if self.readiness.obstacle is None:
                loss = await self._loop.run_in_executor(self._reader, self._file.loss)
                if loss is not None:
                    self._report(loss)
            else:
                with suppress(Exception):  # It has been reported.
                    await self.write(_write_something)

    def _commit(self, batch: list[_Write]) -> list[Any]:
        """Execute a batch in one transaction: all of it, or nothing."""
        if self._contradicted:
            raise _LostError(_CONTRADICTED)
        db = self._writing
        try:
            if (table := _single_statement(batch)) is not None:
                self._refuse_loss()
                insert_rows(db, table, [write.item for write in batch])
                return [None] * len(batch)
            db.execute("BEGIN IMMEDIATE")
            answers = _execute(db, batch)
            if self.before_commit is not None:
                self.before_commit(db)
            self._refuse_loss()
            db.execute("COMMIT")
            if self.on_commit is not None:
                self.on_commit()
        except BaseException as error:
            self._contradicted = isinstance(error, sqlite3.IntegrityError)
            if db.in_transaction:
                db.execute("ROLLBACK")
            if self.on_rollback is not None:
                self.on_rollback()
            raise
        return answers

    def _refuse_loss(self) -> None:
        if (loss := self._file.loss()) is not None:
            raise _LostError(loss)


def insert_rows(db: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows into a table, many by each statement. `table` may name columns."""
    for start in range(0, len(rows), ROWS_TOGETHER):
        some = rows[start : start + ROWS_TOGETHER]
        db.execute(_insertion(table, len(some), len(some[0])), list(chain.from_iterable(some)))


@lru_cache(2 * ROWS_TOGETHER)
def _insertion(table: str, rows: int, columns: int) -> str:
    marks = ", ".join([f"({', '.join('?' * columns)})"] * rows)
    return f"INSERT INTO {table} VALUES {marks}"


def _single_statement(batch: list[_Write]) -> str | None:
    """The table whose rows are all of a batch, if one statement inserts them, which is a transaction by itself.

    BEGIN and COMMIT would be two more turns at the lock of the interpreter.
    """
    table = batch[0].table if len(batch) <= ROWS_TOGETHER else ""
    return table if table and all(write.table == table for write in batch) else None


def _execute(db: sqlite3.Connection, batch: list[_Write]) -> list[Any]:
    """Execute a batch within a transaction, and return the answers."""
    answers: list[Any] = [None] * len(batch)
    together: dict[Callable[[sqlite3.Connection, list[Any]], Sequence[Any]], list[int]] = {}
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for place, write in enumerate(batch):
        if write.operation is not None:
            answers[place] = write.operation(db)
        elif write.together is not None:
            together.setdefault(write.together, []).append(place)
        else:
            rows.setdefault(write.table, []).append(write.item)
    for operation, places in together.items():
        for place, answer in zip(places, operation(db, [batch[place].item for place in places]), strict=True):
            answers[place] = answer
    for table, added in rows.items():
        insert_rows(db, table, added)
    return answers


def _open(path: Path, schema: Schema) -> tuple[OwnedFile, SqliteConnections]:
    """Own the file and open it."""
    file = OwnedFile.take(path)
    try:
        connections = open_connections(file, path, schema)
    except BaseException:
        file.release()
        raise
    file.keep_beside("-wal")  # It has what was written last.
    if (loss := file.loss()) is not None:
        connections.close()
        file.release()
        raise StateError(f"cannot use the state {path}: {loss}")
    return file, connections


def _write_something(db: sqlite3.Connection) -> None:
    """Write what is there already: it takes room on the disk as everything else does."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version = {version}")
