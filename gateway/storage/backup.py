"""A copy of a SQLite file, of one moment, while a process writes it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.storage.owned_file import OwnedFile, StateError
from gateway.storage.sqlite_opening import APPLICATION_ID
from gateway.storage.sqlite_problems import problem_of

_PARTIAL: Final = ".partial"
_MODE: Final = 0o600


@contextmanager
def opened_beside(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading, beside the process that owns it, if one does; else it is owned meanwhile.

    Who only reads a file that nobody else has open would leave files beside it. Raises StateError if it is not a state.
    """
    if not path.is_file():
        raise StateError(f"there is no state {path}")
    owned = None
    with suppress(StateError):
        owned = OwnedFile.take(path)
    try:
        mode = "rw" if owned else "ro"
        with closing(
            sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode={mode}", uri=True, isolation_level=None)
        ) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise StateError(f"cannot read the state {path}: it is a file of another application")
            yield db
    except sqlite3.Error as error:
        raise StateError(f"cannot read the state {path}: {problem_of(error, path.resolve())}") from error
    finally:
        if owned is not None:
            owned.release()


def back_up(source: Path, target: Path) -> int:
    """Copy a state into a new file, which has everything that was durable when this began. Return its size in bytes.

    It is one read transaction: writers go on meanwhile, and what they write stays beside the file until the end of it.
    Raises StateError if the target exists, or cannot be written.
    """
    with opened_beside(source) as db:
        partial = target.with_name(target.name + _PARTIAL)
        try:
            if target.exists():
                raise StateError(f"{target} exists, and is not overwritten")
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, _MODE))
        except OSError as error:
            raise StateError(f"cannot write {error.filename}: {error.strerror}") from error
        try:
            db.execute("VACUUM INTO ?", (str(partial),))
            _sync(partial)
            os.link(partial, target)  # Unlike a rename, it does not replace what has come there meanwhile.
            _sync(target.parent)
        except FileExistsError:
            raise StateError(f"{target} exists, and is not overwritten") from None
        except OSError as error:
            raise StateError(f"cannot write {target}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise StateError(f"cannot write {target}: {problem_of(error, target.resolve())}") from error
        finally:
            with suppress(OSError):
                partial.unlink()
    return target.stat().st_size


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
