"""Files that are read again when they change."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.core.regular_file import opened_regular

V = TypeVar("V")

_log = logging.getLogger(__name__)

_FileStamp = tuple[int, ...] | None


class WatchedFile(Generic[V]):
    """What a file says. While a new content of it is broken, what it said before counts.

    `read` makes a value of a content, and raises ValueError if it is broken, with words that hold no secrets.
    A file is another one, too, if a symbolic link in its path leads elsewhere.
    """

    def __init__(self, path: str, read: Callable[[bytes], V], max_bytes: int) -> None:
        """Read the file. Raises ValueError if it is broken, and OSError if it cannot be read."""
        self._path = path
        self._read = read
        self._max_bytes = max_bytes
        self._stamp, self.value = self._load()

    async def look(self) -> bool:
        """Whether the file has changed, and has been read anew. What is wrong with it is logged once."""
        # Never on the event loop: a file system may be far away, and the content of a file takes time to parse.
        stamp = await asyncio.to_thread(_stamp_at, self._path)
        if stamp == self._stamp:
            return False
        try:
            self._stamp, self.value = await asyncio.to_thread(self._load)
        except (OSError, ValueError) as error:
            self._stamp = stamp
            problem = error.strerror if isinstance(error, OSError) else error
            _log.error("%s: %s; what it said before counts", self._path, problem)
            return False
        _log.info("%s has been read anew", self._path)
        return True

    def _load(self) -> tuple[_FileStamp, V]:
        with opened_regular(self._path) as file:
            stamp = _stamp_of(os.fstat(file.fileno()))
            content = file.read(self._max_bytes + 1)
        if len(content) > self._max_bytes:
            raise ValueError(f"expected {self._max_bytes:,} bytes at most")
        return stamp, self._read(content)


def _stamp_at(path: str) -> _FileStamp:
    try:
        return _stamp_of(os.stat(path))
    except OSError:
        return None


def _stamp_of(status: os.stat_result) -> _FileStamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
