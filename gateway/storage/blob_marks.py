"""In which namespaces the blobs of an engine are that knows none: a mark for each namespace that has put a blob.

What was put without the gateway, or before there were marks, is in the default namespace, unless another one has put it
since. So a blob that the default namespace uses without a mark is marked then, and stays.
"""

import sqlite3
from abc import ABC, abstractmethod
from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.errors import StateUnavailable
from gateway.core.internal_errors import release_frames
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.storage.sqlite_file import StateFile

MEMORY_MARKS: Final = 100_000
"""How many marks are kept if there is no file; beyond it, the earliest are forgotten, and their blobs have to be put
again. A file keeps all, for ever."""

CACHED_MARKS: Final = 10_000
"""Of how many blobs it is known without reading the file that they are in a namespace."""

MARKS_TABLE: Final = """
CREATE TABLE blob_marks (digest TEXT NOT NULL, namespace TEXT NOT NULL, PRIMARY KEY (digest, namespace)) WITHOUT ROWID;
"""


class BlobMarks(ABC):
    """The marks of a gateway."""

    @abstractmethod
    async def put(self, blob_id: str, namespace: str) -> None:
        """Mark a blob as one of a namespace, durably if there is a file.

        Raises StateUnavailable if it cannot be written, but not for the default namespace, which needs no marks of
        blobs that no other one has.
        """

    async def has(self, blob_id: str, namespace: str | None) -> bool:
        """Whether a blob, if there is one with this id, is in a namespace, or in any if it is None."""
        if namespace is None or self._is_known(blob_id, namespace):
            return True
        marked = await self._namespaces(blob_id)
        if namespace in marked:
            self._know(blob_id, namespace)
            return True
        return namespace == DEFAULT_NAMESPACE and not marked

    @abstractmethod
    def _is_known(self, blob_id: str, namespace: str) -> bool:
        """Whether it is known at once that a blob has the mark of a namespace."""

    @abstractmethod
    def _know(self, blob_id: str, namespace: str) -> None:
        """Know from now on that a blob has the mark of a namespace."""

    @abstractmethod
    async def _namespaces(self, blob_id: str) -> frozenset[str]:
        """The namespaces whose mark a blob has."""


class MemoryMarks(BlobMarks):
    """The latest marks, which end with the process."""

    def __init__(self) -> None:
        self._marks: BoundedCache[str, frozenset[str]] = BoundedCache(MEMORY_MARKS, MEMORY_MARKS)

    async def put(self, blob_id: str, namespace: str) -> None:
        marked = await self._namespaces(blob_id) | {namespace}
        self._marks.put(blob_id, marked, len(marked))

    def _is_known(self, blob_id: str, namespace: str) -> bool:
        return namespace in (self._marks.get(blob_id) or ())

    def _know(self, blob_id: str, namespace: str) -> None:
        pass  # All marks are at hand.

    async def _namespaces(self, blob_id: str) -> frozenset[str]:
        return self._marks.get(blob_id) or frozenset()


class FileMarks(BlobMarks):
    """Marks in a file that has MARKS_TABLE; the caller closes it."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._cached: BoundedCache[tuple[str, str], None] = BoundedCache(CACHED_MARKS)

    async def put(self, blob_id: str, namespace: str) -> None:
        if self._is_known(blob_id, namespace):
            return
        row = (blob_id, namespace)
        try:
            await self._file.write(lambda db: db.execute("INSERT OR IGNORE INTO blob_marks VALUES (?, ?)", row))
        except StateUnavailable as error:
            if namespace != DEFAULT_NAMESPACE:
                raise
            release_frames(error)
            return
        self._know(blob_id, namespace)

    def _is_known(self, blob_id: str, namespace: str) -> bool:
        return (blob_id, namespace) in self._cached

    def _know(self, blob_id: str, namespace: str) -> None:
        self._cached.put((blob_id, namespace), None)

    async def _namespaces(self, blob_id: str) -> frozenset[str]:
        def select(db: sqlite3.Connection) -> frozenset[str]:
            query = "SELECT namespace FROM blob_marks WHERE digest = ?"
            return frozenset(namespace for (namespace,) in db.execute(query, (blob_id,)))

        return await self._file.read(select)
