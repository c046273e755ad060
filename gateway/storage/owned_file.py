"""A file that one process owns. The lock belongs to the file, whatever name leads to it.

On Linux the lock is on the file itself. SQLite locks the same file in another way (fcntl), which does not see this lock
(flock). A process loses all its fcntl locks of a file when it closes any descriptor of it. So a file that this process
owns already is not opened again, and the descriptor here is closed after SQLite has closed its own. Elsewhere the two
kinds of locks exclude each other, and the lock is on a file beside it.

Nothing has to be removed after a crash: the lock ends with the process.
"""

import fcntl
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Final, NamedTuple, Self

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_LOCK_IS_ON_THE_FILE: Final = sys.platform == "linux"


class StateError(Exception):
    """The state file cannot be used; the message says why, in one line."""


class FileIdentity(NamedTuple):
    """Which file it is, under any name."""

    device: int
    inode: int


_owned: set[FileIdentity] = set()
_taking: Final = threading.Lock()


class OwnedFile:
    """A file that nobody else has, until it is released. `path` is its place, without symbolic links."""

    def __init__(self, path: Path, descriptor: int, identity: FileIdentity, lock: int) -> None:
        self.path = path
        self.descriptor = descriptor
        """For looking at the file before anything else does. It stays open until the end."""
        self._identity = identity
        self._lock = lock
        self._places = {str(path): identity}

    @classmethod
    def take(cls, path: Path) -> Self:
        """Own a file; make it, for this user alone, if there is none. Raises StateError if it cannot be had."""
        try:
            make_private_directory(path.parent)
            with _taking:
                return cls._take(path, Path(os.path.realpath(path)))
        except OSError as error:
            raise StateError(f"cannot open the state {path}: {error.strerror}") from error

    @classmethod
    def _take(cls, path: Path, place: Path) -> Self:
        if identity_of(place) in _owned:
            raise _in_use(path)
        descriptor = _open(place)
        lock = descriptor
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StateError(f"cannot open the state {path}: it is not a regular file")
            if not _LOCK_IS_ON_THE_FILE:
                lock = _open(Path(f"{place}.lock"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            identity = identity_of(place)
            if identity is None or not os.path.samestat(os.fstat(descriptor), os.stat(place)):
                raise _in_use(path)  # Another process has replaced it at this moment.
            _refuse_other_names(path, descriptor)
        except BlockingIOError:
            _close(descriptor, lock)
            raise _in_use(path) from None
        except BaseException:
            _close(descriptor, lock)
            raise
        _owned.add(identity)
        return cls(place, descriptor, identity, lock)

    def keep_beside(self, ending: str) -> None:
        """Note that the file beside it with this ending, if there is one, belongs to it from now on."""
        place = f"{self.path}{ending}"
        if (identity := identity_of(place)) is not None:
            self._places[place] = identity

    def loss(self) -> str | None:
        """Why what is written would be lost: a file was deleted, moved or replaced. None if all are in their places."""
        for place, identity in self._places.items():
            if identity_of(place) != identity:
                return f"the state is lost: {os.path.basename(place)} was deleted, moved or replaced"
        return None

    def size(self) -> int:
        """How many bytes it has, with the files beside it that belong to it; 0 for what cannot be seen."""
        return sum(map(_size_of, self._places))

    def release(self) -> None:
        """Let others have the file. Everything else that has it open in this process must have closed it."""
        with _taking:
            _owned.discard(self._identity)
            _close(self.descriptor, self._lock)


def identity_of(path: str | Path) -> FileIdentity | None:
    """Which file is at a path; None if there is none that can be seen."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return FileIdentity(found.st_dev, found.st_ino)


def _size_of(path: str | Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def make_private_directory(path: Path) -> None:
    """Make a directory, and those above it, for this user alone, whatever the umask. Existing ones stay as they are.

    Raises OSError if that is impossible.
    """
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(_DIRECTORY_MODE)
        except FileExistsError:
            continue  # Another process has made it meanwhile.
        directory.chmod(_DIRECTORY_MODE)


def _open(place: Path) -> int:
    """Open a file, or make it for this user alone, whatever the umask."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(place, flags)
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(place, flags | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    except FileExistsError:
        return os.open(place, flags)  # Another process has made it meanwhile.
    os.fchmod(descriptor, _FILE_MODE)
    return descriptor


def _refuse_other_names(path: Path, descriptor: int) -> None:
    names = os.fstat(descriptor).st_nlink
    if names > 1:
        raise StateError(
            f"cannot use the state {path}: the file has {names} names (hard links), and SQLite keeps what was written "
            "last beside one of them; leave it one name"
        )


def _close(descriptor: int, lock: int) -> None:
    os.close(descriptor)
    if lock != descriptor:
        os.close(lock)


def _in_use(path: Path) -> StateError:
    return StateError(f"the state {path} is in use by another process")
