"""Runs with many inputs: they are written in several transactions, and the run exists from the last one on.

The table `arriving` has the numbers of runs whose inputs are being written. Nothing else leads to those inputs, so
nobody sees them. What is left of a submit that fails, or that the end of the process cuts off, is removed later.
"""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, TypeAlias

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import Unavailable, shutting_down
from gateway.core.model import JsonText
from gateway.core.packed_texts import PackedTexts, chunks_of
from gateway.runtimes.embedded.journal import MAX_ITEMS
from gateway.storage.long_texts import TextColumn, is_long
from gateway.storage.sqlite_file import StateFile

_log = logging.getLogger(__name__)

SLICE_TEXT: Final = 1 << 20
"""How many characters of inputs a transaction writes, about, or one larger input: some ms, for which others wait."""

REMOVAL_SECONDS: Final = 0.005
"""About how long a transaction removes what was left behind."""

RETRY_SECONDS: Final = 10.0
"""Seconds until removing is tried again when the file could not be written."""

INPUT: Final = TextColumn("inputs", "input", ("item", "number"))

_MANY: Final = 4_096

InputRow: TypeAlias = tuple[int, JsonText, int]
"""A row of `inputs`: the key of the first input in it, the texts with commas between them, and their number."""


def is_large(inputs: Sequence[JsonText]) -> bool:
    """Whether inputs are too many for one transaction."""
    if len(inputs) <= 1:
        return False
    if isinstance(inputs, PackedTexts):
        return inputs.size > SLICE_TEXT
    return len(inputs) > _MANY or sum(map(len, inputs)) > SLICE_TEXT


def insert_inputs(db: sqlite3.Connection, rows: Sequence[InputRow]) -> None:
    """Insert rows of `inputs`, of which any may hold a long text."""
    if any(is_long(text) for _, text, _ in rows):
        for item, text, number in rows:
            INPUT.insert(db, text, (item, number))
    else:
        db.executemany("INSERT INTO inputs VALUES (?, ?, ?)", rows)


class Arrivals:
    """Writes the inputs of runs that arrive, and removes those of runs that did not. `left` are such runs."""

    def __init__(self, file: StateFile, left: Sequence[int]) -> None:
        self._file = file
        self._left = deque(left)
        self._removing: asyncio.Task[None] | None = None
        self._draining = False
        self._remove_later()

    async def write(self, run: int, inputs: Sequence[JsonText]) -> None:
        """Write all inputs of a run whose number is in `arriving`. Raises Unavailable after `drain`."""
        first, pace = run * MAX_ITEMS, TimeSlice()
        rows: list[InputRow] = []
        size = 0
        for place, text, number in chunks_of(inputs):
            rows.append((first + place, text, number))
            size += len(text)
            if size >= SLICE_TEXT:
                await self._insert(rows)
                rows, size = [], 0
            await pace.checkpoint()
        await self._insert(rows)

    async def _insert(self, rows: list[InputRow]) -> None:
        await self._file.write(lambda db: insert_inputs(db, rows))
        if self._draining:
            raise shutting_down()

    def abandon(self, run: int) -> None:
        """Remove what was written of a run, in the background, unless it has arrived."""
        self._left.append(run)
        self._remove_later()

    def drain(self) -> None:
        """Let no further run arrive."""
        self._draining = True

    async def close(self) -> None:
        """Stop removing; it goes on when the file is opened again."""
        self._draining = True
        if self._removing is not None:
            self._removing.cancel()
            await asyncio.gather(self._removing, return_exceptions=True)

    def _remove_later(self) -> None:
        if self._left and self._removing is None and not self._draining:
            self._removing = asyncio.create_task(self._remove())

    async def _remove(self) -> None:
        while self._left:
            run = self._left[0]
            try:
                finished = await self._file.write(lambda db, run=run: _remove_slice(db, run))  # type: ignore[misc]
            except Unavailable:
                _log.warning("inputs of a run that was not accepted stay in the state for now")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if finished:
                self._left.popleft()
        self._removing = None


def _remove_slice(db: sqlite3.Connection, run: int) -> bool:
    """Remove inputs of a run that has not arrived. Return whether none is left."""
    if db.execute("SELECT 1 FROM arriving WHERE run = ?", (run,)).fetchone() is None:
        return True
    first = run * MAX_ITEMS
    until = time.monotonic() + REMOVAL_SECONDS
    rows = 1
    while time.monotonic() < until:
        removed = db.execute(
            "DELETE FROM inputs WHERE item IN (SELECT item FROM inputs WHERE item >= ? AND item < ? LIMIT ?)",
            (first, first + MAX_ITEMS, rows),
        ).rowcount
        if removed < rows:
            db.execute("DELETE FROM arriving WHERE run = ?", (run,))
            return True
        rows *= 2
    return False
