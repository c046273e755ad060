"""Counters by key that the processes of one gateway share: a table in memory, or in a file that all of them map.

A row belongs to a key. It has two points in time, and for each kind of thing a count of every process, which it alone
writes. So a count is exact, and what a process held that died is gone when another one takes its column. Points in time
are written by all: two processes that take at the same microsecond may count once.
"""

import fcntl
import mmap
import os
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final, Self

ROWS: Final = 1 << 14
"""How many keys there may be at a time. Rows that count nothing are given to others."""

KINDS: Final = 4
"""How many kinds of things a row counts."""

_TIMES: Final = 2
_PROBES: Final = 32
"""How many rows are looked at for a key."""

_HEADER_CELLS: Final = 8
_SECRET: Final = 16


class CounterTable:
    """The table of one process, with `columns` for as many processes; this one has the column `column`.

    A row is named by the index of its first cell. `now` is in nanoseconds of the clock that all processes share.
    """

    def __init__(self, columns: int = 1, *, file: int = -1, rows: int = ROWS, column: int = 0) -> None:
        self._columns = columns
        self.column = column
        self._width = 1 + _TIMES + KINDS * columns
        self._rows = rows
        self._file = file
        self._map = mmap.mmap(file, 8 * (_HEADER_CELLS + rows * self._width))
        if file < 0:
            self._map[:_SECRET] = secrets.token_bytes(_SECRET)
        self._cells = memoryview(self._map).cast("q")
        self.now = time.monotonic_ns

    @classmethod
    def create(cls, path: str, columns: int) -> None:
        """Make the file of a table for so many processes, which only this user may open."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, 8 * (_HEADER_CELLS + ROWS * (1 + _TIMES + KINDS * columns)))
            os.pwrite(file, secrets.token_bytes(_SECRET) + struct.pack("=q", columns), 0)
        finally:
            os.close(file)

    @classmethod
    def join(cls, path: str) -> Self:
        """The table in a file, and a column of it until this process ends. Raises OSError if all are taken."""
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        (columns,) = struct.unpack("=q", os.pread(file, 8, _SECRET))
        for column in range(columns):
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, column)
            except BlockingIOError:
                continue
            table = cls(columns, file=file, column=column)
            table.clear_column()
            return table
        os.close(file)
        raise OSError("all places of processes are taken")

    def clear_column(self) -> None:
        """Let this process hold nothing: what an earlier one in its place held is gone."""
        cells = self._cells
        for row in range(_HEADER_CELLS, len(cells), self._width):
            if cells[row]:
                for place in range(row + 1 + _TIMES + self.column, row + self._width, self._columns):
                    cells[place] = 0

    def key_of(self, name: str) -> int:
        """The key of a name: the same in all processes, and to others a random one."""
        digest = blake2b(name.encode(errors="surrogatepass"), digest_size=8, key=bytes(self._map[:_SECRET])).digest()
        return int.from_bytes(digest, "big", signed=True) or 1

    def row(self, key: int) -> int | None:
        """The row of a key; None if too many others count something."""
        cells = self._cells
        for row in self._probed(key):
            if cells[row] == key:
                return row
            if not cells[row]:
                break
        with self._locked():
            return self._taken_row(key)

    def has(self, row: int, key: int) -> bool:
        """Whether a row still belongs to a key."""
        return self._cells[row] == key

    def count(self, row: int, kind: int) -> int:
        """How many there are of a kind, in all processes."""
        place = row + 1 + _TIMES + kind * self._columns
        if self._columns == 1:
            return self._cells[place]
        return sum(self._cells[place : place + self._columns])

    def add(self, row: int, kind: int, number: int) -> None:
        """Count so many more of a kind in this process; less if it is negative."""
        self._cells[row + 1 + _TIMES + kind * self._columns + self.column] += number

    def time_of(self, row: int, which: int) -> int:
        """A point in time of a row, in nanoseconds: 0 or 1 says which."""
        return self._cells[row + 1 + which]

    def set_time(self, row: int, which: int, moment: int) -> None:
        """Move a point in time."""
        self._cells[row + 1 + which] = moment

    def close(self) -> None:
        """Let another process have the column."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _probed(self, key: int) -> Iterator[int]:
        for probe in range(min(_PROBES, self._rows)):
            yield _HEADER_CELLS + (key + probe) % self._rows * self._width

    def _taken_row(self, key: int) -> int | None:
        """The row of a key: the one that it has, a free one, or one that counts nothing."""
        cells, now = self._cells, self.now()
        for row in self._probed(key):
            if cells[row] in (0, key):
                cells[row] = key
                return row
        for row in self._probed(key):
            if max(cells[row + 1 : row + 1 + _TIMES]) <= now and not any(cells[row + 1 + _TIMES : row + self._width]):
                for place in range(row + 1, row + 1 + _TIMES):
                    cells[place] = 0
                cells[row] = key
                return row
        return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process give rows to keys: for microseconds, when a key is new to this one."""
        if self._file < 0:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, self._columns)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._columns)
