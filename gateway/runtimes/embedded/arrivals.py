"""Runs with many inputs: they are written in several transactions, and the run exists from the last one on.

The table `arriving` has the numbers of runs whose inputs are being written. Nothing else leads to those inputs, so
nobody sees them. What is left of a submit that fails, or that the end of the process cuts off, is removed later.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, TypeAlias

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import ParentCancelled, shutting_down
from gateway.core.model import JsonText
from gateway.core.packed_texts import Chunk, PackedTexts, chunks_of
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH
from gateway.runtimes.embedded.journal import RUN_ROWS
from gateway.runtimes.embedded.removals import Removals
from gateway.storage.long_texts import TextColumn, is_long
from gateway.storage.sqlite_file import StateFile

SLICE_TEXT: Final = 1 << 20
"""How many characters of inputs a transaction writes, about, or one larger input: some ms, for which others wait."""

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


def read_inputs(db: sqlite3.Connection, first: int, start: int) -> list[JsonText]:
    """Read inputs from the index `start` on; `first` is the first row key of the run, negative if there is none."""
    if first < 0:
        return []
    rows = db.execute(
        f"SELECT item, {INPUT.short}, number FROM inputs WHERE item >= "
        "(SELECT item FROM inputs WHERE item >= ? AND item <= ? ORDER BY item DESC LIMIT 1) AND item < ? ORDER BY item",
        (first, first + start, first + RUN_ROWS),
    )
    page: list[JsonText] = []
    size = 0
    for item, short, number in rows:
        text = INPUT.read(db, item) if short is None else short
        page += Chunk(item, text, number).texts()[max(0, first + start - item) :]
        size += len(text)
        if size >= RESULT_PAGE_BYTES or len(page) >= RESULT_PAGE_LENGTH:
            break
    return page


class Arrivals:
    """Writes the inputs of runs that arrive, and has those of runs that did not removed."""

    def __init__(self, file: StateFile, removals: Removals) -> None:
        self._file = file
        self._removals = removals
        self._draining = False
        self._arriving: set[str] = set()

    async def write(self, run: int, run_id: str, inputs: Sequence[JsonText]) -> int:
        """Write all inputs of a run whose number is in `arriving`. Return how many characters these are.

        Raises Unavailable after `drain`, and ParentCancelled after `withdraw`.
        """
        self._arriving.add(run_id)
        try:
            return await self._write(run, run_id, inputs)
        finally:
            self._arriving.discard(run_id)

    def withdraw(self, run_id: str) -> None:
        """A run that is arriving is not wanted any more."""
        self._arriving.discard(run_id)

    async def _write(self, run: int, run_id: str, inputs: Sequence[JsonText]) -> int:
        first, pace = run * RUN_ROWS, TimeSlice()
        rows: list[InputRow] = []
        size = written = 0
        for place, text, number in chunks_of(inputs):
            rows.append((first + place, text, number))
            size += len(text)
            if size >= SLICE_TEXT:
                await self._insert(rows, run_id)
                written += size
                rows, size = [], 0
            await pace.checkpoint()
        await self._insert(rows, run_id)
        return written + size

    async def _insert(self, rows: list[InputRow], run_id: str) -> None:
        await self._file.write(lambda db: insert_inputs(db, rows))
        if self._draining:
            raise shutting_down()
        if run_id not in self._arriving:
            raise ParentCancelled("the run that this one is inside was cancelled while its inputs were being kept")

    def abandon(self, run: int) -> None:
        """Remove what was written of a run, in the background, unless it has arrived."""
        self._removals.add([run])

    def drain(self) -> None:
        """Let no further run arrive."""
        self._draining = True
