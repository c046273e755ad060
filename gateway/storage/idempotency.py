"""Idempotency keys for runtimes whose engine ignores them: which run was submitted with which key.

A key becomes durable when the engine has accepted the run, so one gap remains: if the gateway is killed after the
engine has accepted a run and before its key is on disk, a retry submits another run.
"""

import asyncio
import hashlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import StateUnavailable
from gateway.core.internal_errors import release_frames
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.readiness import Readiness
from gateway.storage.blob_marks import MARKS_TABLE, BlobMarks, FileMarks, MemoryMarks
from gateway.storage.fingerprint import refuse_other
from gateway.storage.run_notes import NOTES_TABLE, FileNotes, MemoryNotes, RunNotes
from gateway.storage.sqlite_file import StateFile
from gateway.storage.sqlite_opening import Schema

IN_MEMORY: Final = ":memory:"
"""The state that is kept in memory only."""

MEMORY_KEYS: Final = 100_000
"""How many keys are kept in memory; beyond it, those that were used first are forgotten. A file keeps all, for ever."""

RETRY_SECONDS: Final = 1.0
"""Seconds before a key is written again that could not be written."""

# The version begins where that of other state files will not get, so that neither takes the other for its own.
_KEYS_TABLE: Final = """
CREATE TABLE keys (
    namespace TEXT NOT NULL, scope TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, run_id TEXT NOT NULL,
    PRIMARY KEY (namespace, scope, key)
) WITHOUT ROWID;
"""

_SCHEMA: Final = Schema(
    1003,
    _KEYS_TABLE + NOTES_TABLE + MARKS_TABLE,
    upgrades={
        1001: NOTES_TABLE,
        1002: f"""
ALTER TABLE keys RENAME TO keys_before;
{_KEYS_TABLE}
INSERT INTO keys SELECT '{DEFAULT_NAMESPACE}', scope, key, fingerprint, run_id FROM keys_before;
DROP TABLE keys_before;
{MARKS_TABLE}""",
    },
)

Submit = Callable[[], Awaitable[str]]
"""Submits a run and returns its id."""


class _Name(NamedTuple):
    namespace: str
    scope: str
    key: str


class _Use(NamedTuple):
    """What a key was used for."""

    fingerprint: str
    run_id: str


class Keys:
    """Remembers the run of each key. A key counts within its namespace and its scope."""

    @classmethod
    async def open(cls, path: str) -> "Keys":
        """Open or create the file at `path`; `:memory:` keeps the latest MEMORY_KEYS, and nothing after the end.

        Raises StateError, one line, if the file is in use by another process, holds something else, or cannot be read.
        """
        return cls(_MemoryStore() if path == IN_MEMORY else _FileStore(await StateFile.open(Path(path), _SCHEMA)))

    def __init__(self, store: "_Store") -> None:
        self._store = store
        self.readiness = store.readiness
        """Whether keys can be kept."""
        self.notes = store.notes
        """What else is kept of the runs, beside the keys."""
        self.marks = store.marks
        """In which namespaces blobs are."""
        self._pending: dict[_Name, tuple[str, asyncio.Task[tuple[str, bool]]]] = {}

    async def once(
        self, scope: str, key: str, fingerprint: str, submit: Submit, *, namespace: str = DEFAULT_NAMESPACE
    ) -> tuple[str, bool]:
        """Return the id of the run with this key, and whether this call has submitted it.

        `submit` is called if the key is new; the key is durable before this returns, and free again if `submit` fails.
        Concurrent calls wait for the first one, and share its outcome. Raises IdempotencyConflict if the key stands for
        other parameters. A submit that has begun goes on when its caller leaves: the run may have been accepted.
        """
        name = _Name(namespace, scope, key)
        while (pending := self._pending.get(name)) is not None and pending[0] != fingerprint:
            # Whether the key is taken depends on the outcome of the first.
            await asyncio.wait({pending[1]})
        if pending is not None:
            run_id, _ = await asyncio.shield(pending[1])
            return run_id, False
        task = asyncio.create_task(self._once(name, fingerprint, submit))
        self._pending[name] = fingerprint, task
        task.add_done_callback(lambda done: self._settled(name, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel what is being submitted, and release the file."""
        tasks = [task for _, task in self._pending.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._store.close()

    async def _once(self, name: _Name, fingerprint: str, submit: Submit) -> tuple[str, bool]:
        use = await self._store.get(name)
        if use is not None:
            refuse_other(use.fingerprint, fingerprint)
            return use.run_id, False
        if self.readiness.obstacle is not None:
            raise StateUnavailable("the state cannot be written", retry_after=1.0)
        run_id = await submit()
        await self._keep(name, _Use(fingerprint, run_id))
        return run_id, True

    async def _keep(self, name: _Name, use: _Use) -> None:
        """Keep a key, and retry for ever: its run has been accepted, and must not be submitted again."""
        while True:
            try:
                return await self._store.put(name, use)
            except StateUnavailable as error:
                release_frames(error)
            await asyncio.sleep(RETRY_SECONDS)

    def _settled(self, name: _Name, task: asyncio.Task[tuple[str, bool]]) -> None:
        del self._pending[name]
        retrieve_exception(task)


def global_key(scope: str, key: str | None, namespace: str = DEFAULT_NAMESPACE) -> str | None:
    """A key for an upstream that knows no scopes: one that counts in a scope, or in a namespace, is made unique.

    For an upstream that knows namespaces, none is to be named.
    """
    if key is None or (not scope and namespace == DEFAULT_NAMESPACE):
        return key
    place = "" if namespace == DEFAULT_NAMESPACE else f"{namespace}/"
    return "sub:" + hashlib.sha256(f"{place}{len(scope)}:{scope}{key}".encode()).hexdigest()


class _Store(ABC):
    def __init__(self, notes: RunNotes, marks: BlobMarks) -> None:
        self.readiness = Readiness()
        self.notes = notes
        self.marks = marks

    @abstractmethod
    async def get(self, name: _Name) -> _Use | None: ...

    @abstractmethod
    async def put(self, name: _Name, use: _Use) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...


class _MemoryStore(_Store):
    def __init__(self) -> None:
        super().__init__(MemoryNotes(), MemoryMarks())
        self._uses: BoundedCache[_Name, _Use] = BoundedCache(MEMORY_KEYS)

    async def get(self, name: _Name) -> _Use | None:
        return self._uses.get(name)

    async def put(self, name: _Name, use: _Use) -> None:
        self._uses.put(name, use)

    async def close(self) -> None:
        self._uses.clear()


class _FileStore(_Store):
    def __init__(self, file: StateFile) -> None:
        super().__init__(FileNotes(file), FileMarks(file))
        self._file = file
        self.readiness = file.readiness

    async def get(self, name: _Name) -> _Use | None:
        def select(db: sqlite3.Connection) -> _Use | None:
            query = "SELECT fingerprint, run_id FROM keys WHERE namespace = ? AND scope = ? AND key = ?"
            row = db.execute(query, name).fetchone()
            return None if row is None else _Use(*row)

        return await self._file.read(select)

    async def put(self, name: _Name, use: _Use) -> None:
        await self._file.write(lambda db: db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", (*name, *use)))

    async def close(self) -> None:
        await self._file.close()
