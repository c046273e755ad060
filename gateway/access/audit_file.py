"""The file of an audit log: lines are appended whole, by one thread, also while others rotate it."""

import os
import stat
import sys
from typing import Final

STDERR: Final = "-"
"""In place of a path: standard error."""


class AuditFile:
    """A file that lines are appended to. It is opened anew before the next line when it has been moved.

    Processes share it: each line is one write. Raises OSError if it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = sys.stderr.fileno() if path == STDERR else self._open()

    def append(self, lines: list[bytes]) -> int:
        """Write lines, and return how many could not be."""
        if self._path != STDERR:
            self._follow()
        return sum(not self._written(line) for line in lines)

    def close(self) -> None:
        """Close the file."""
        if self._path != STDERR:
            os.close(self._file)

    def _written(self, line: bytes) -> bool:
        try:
            return os.write(self._file, line) == len(line)
        except OSError:
            return False

    def _follow(self) -> None:
        """Open the file anew if it is not at its path any more. If that fails, the old one is written on."""
        try:
            moved = not os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except OSError:
            moved = True
        if not moved:
            return
        try:
            file = self._open()
        except OSError:
            return
        os.close(self._file)
        self._file = file

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        file = os.open(self._path, flags, 0o600)
        if stat.S_ISREG(os.fstat(file).st_mode):
            os.set_blocking(file, True)
        return file
