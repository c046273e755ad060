"""Objects as files below a directory, which machines may share.

A file is written beside the others, made durable, and then given its name: what has a name is whole, also after a loss
of power. Systems calls of files block, on shared directories also for long, so all of them are made in threads of its
own.
"""

import asyncio
import heapq
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from gateway.storage.object_backend import (
    READ_AT_ONCE,
    ObjectBackend,
    ObjectMissing,
    ObjectsAway,
    ObjectsError,
    StoredObject,
)

_T = TypeVar("_T")

_THREADS: Final = 8
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_UNFINISHED: Final = ".unfinished"
"""The folder of files that are being written. No key begins with a dot."""

_ABANDONED_SECONDS: Final = 86_400.0
"""So old is a file that is being written by nobody any more."""

_KNOWN_FOLDERS: Final = 4_096
_TRIES: Final = 8
"""How often a folder is made that others delete at the same time, because it was empty."""

_NO_FOLDER: Final = "is not there, or is no directory that can be written to"


class ObjectFiles(ObjectBackend):
    """Objects below one directory, which has to exist."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._unfinished = f"{root}/{_UNFINISHED}"
        self._threads = ThreadPoolExecutor(_THREADS, "object-files")
        self._durable_folders: set[str] = set()

    async def put(self, key: str, data: bytes) -> None:
        await self._in_thread(self._write, key, data)

    async def get(self, key: str, admit: Callable[[int], None]) -> bytes:
        size, data = await self._in_thread(self._read_short, key)
        admit(size)
        return await self._in_thread(self._read, key, size) if data is None else data

    async def size(self, key: str) -> int:
        return (await self._in_thread(os.stat, self._path(key))).st_size

    async def delete(self, keys: Sequence[str]) -> None:
        await self._in_thread(self._delete, keys)

    async def list_objects(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        return await self._in_thread(self._list, folder, after, limit)

    async def check(self) -> None:
        try:
            await self._in_thread(self._check)
        except (ObjectMissing, ObjectsAway):
            raise ObjectsError(f"the directory {_NO_FOLDER}") from None

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, work, args)

    def _call(self, work: Callable[..., _T], args: Sequence[object]) -> _T:
        """Raises ObjectMissing, ObjectsAway or ObjectsError in place of an OSError."""
        try:
            return work(*args)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            if os.path.isdir(self._unfinished):
                raise ObjectMissing from None
            # Nothing is missing because a shared directory is not there now.
            raise ObjectsAway(f"the directory {_NO_FOLDER}") from None
        except PermissionError as error:
            raise ObjectsError(f"the directory: {error.strerror}") from None
        except OSError as error:
            raise ObjectsAway(f"the directory: {error.strerror}") from None

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _write(self, key: str, data: bytes) -> None:
        unfinished = f"{self._unfinished}/{uuid.uuid4().hex}"
        try:
            _write_durably(unfinished, data)
            self._give_name(unfinished, self._path(key))
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished)
            raise

    def _give_name(self, unfinished: str, path: str) -> None:
        folder = os.path.dirname(path)
        for left in reversed(range(_TRIES)):
            if folder not in self._durable_folders:
                self._make_durable_folder(folder)
            try:
                os.rename(unfinished, path)
                break
            except FileNotFoundError:
                self._durable_folders.discard(folder)
                if not left:
                    raise
        _make_durable(folder)

    def _make_durable_folder(self, folder: str) -> None:
        """Make a folder, and those above it up to the root, all of them durable."""
        if folder == self._root:
            return
        above = os.path.dirname(folder)
        self._make_durable_folder(above)
        with suppress(FileExistsError):
            os.mkdir(folder, _FOLDER_MODE)
        _make_durable(above)
        if len(self._durable_folders) >= _KNOWN_FOLDERS:
            self._durable_folders.clear()
        self._durable_folders.add(folder)

    def _read_short(self, key: str) -> tuple[int, bytes | None]:
        """The size of an object, and the object itself if it is short."""
        with open(self._path(key), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return size, file.read(size) if size <= READ_AT_ONCE else None

    def _read(self, key: str, size: int) -> bytes:
        with open(self._path(key), "rb", buffering=0) as file:
            data = file.read(size)
        if len(data) != size:
            raise ObjectsAway("a file has changed while it was read")
        return data

    def _delete(self, keys: Sequence[str]) -> None:
        os.stat(self._unfinished)
        for key in keys:
            path = self._path(key)
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)
            self._delete_empty(os.path.dirname(path))

    def _delete_empty(self, folder: str) -> None:
        """Delete a folder and those above it that are empty."""
        with suppress(OSError):
            while folder != self._root:
                os.rmdir(folder)
                self._durable_folders.discard(folder)
                folder = os.path.dirname(folder)

    def _list(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        os.stat(self._unfinished)
        top = f"{self._root}/{folder}" if folder else self._root
        found = (key for key in self._keys(top) if key > after)
        sizes = []
        for key in heapq.nsmallest(limit, found):
            with suppress(FileNotFoundError):
                sizes.append(StoredObject(key, os.stat(self._path(key)).st_size))
        return sizes

    def _keys(self, top: str) -> Iterator[str]:
        start = len(self._root) + 1
        for path, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (f"{path}/{name}"[start:] for name in files)

    def _check(self) -> None:
        with suppress(FileExistsError):
            os.mkdir(self._unfinished, _FOLDER_MODE)
        _make_durable(self._root)
        before = time.time() - _ABANDONED_SECONDS
        with os.scandir(self._unfinished) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat().st_mtime < before:
                        os.unlink(entry.path)


def _write_durably(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_durable(folder: str) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
