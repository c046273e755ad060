"""How many bytes a state file has of each namespace: blobs, and the inputs and results of runs.

The table `stored` has what is settled: blobs, runs that have ended, and runs that are indexed of those that had ended
when they were accepted. It changes in the transactions that write and delete them, once in each. What is not settled is
counted in memory: at most some hundred runs that are not indexed yet, and the runs that have not ended.

Texts of runs count by their characters. What a run that had not ended had produced before a restart is not counted, and
neither are inputs and results from before schema 7.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateway.core.model import JsonText
from gateway.core.packed_texts import PackedTexts
from gateway.flows.run_owners import namespace_of, namespace_of_blob
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded.ended_rows import read_ended

STORED_TABLE: Final = "CREATE TABLE stored (namespace TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;"

RUN_BYTES: Final = 256
"""What a run takes besides its texts."""

_ADD: Final = "INSERT INTO stored VALUES (?, ?) ON CONFLICT (namespace) DO UPDATE SET bytes = bytes + excluded.bytes"


class StoredBytes:
    """`add`, `write`, `committed` and `undone` are called in the thread that writes, all others on the event loop.

    `settled` and `open_runs` are what there was when the file was opened.
    """

    def __init__(self, settled: Mapping[str, int], open_runs: Mapping[str, int]) -> None:
        self._settled = Counter(settled)
        self._open = Counter(open_runs)
        self._changes: Counter[str] = Counter()
        self._results: Counter[str] = Counter()
        self._begun: dict[str, str] = {}

    def of(self, namespace: str) -> int:
        """How many bytes there are of a namespace, besides the runs that are not indexed yet."""
        return self._settled[namespace] + self._open[namespace]

    def add(self, namespace: str, size: int) -> None:
        """So much more is written by the transaction, or deleted if it is negative."""
        self._changes[namespace] += size

    def write(self, db: sqlite3.Connection) -> None:
        """The transaction is about to be committed."""
        if self._changes:
            db.executemany(_ADD, list(self._changes.items()))

    def committed(self) -> None:
        """The transaction is durable."""
        if self._changes:
            self._settled.update(self._changes)
            self._changes.clear()

    def undone(self) -> None:
        """Nothing of the transaction was written."""
        self._changes.clear()

    def begin(self, record: RunRecord, size: int) -> None:
        """A run has been accepted that has not ended."""
        self._begun[record.run_id] = record.namespace
        self._open[record.namespace] += size

    def produced(self, run_id: str, size: int) -> None:
        """A run that goes on has more results."""
        self._results[run_id] += size
        if (namespace := self._begun.get(run_id)) is not None:
            self._open[namespace] += size

    def results_of(self, run_id: str) -> int:
        """How much a run has produced."""
        return self._results[run_id]

    def end(self, run_id: str, ended: "EndedSize | None", *, restored: bool) -> None:
        """A run has ended, and is settled; None: it had ended before. `restored`: it is older than this opening."""
        results = self._results.pop(run_id, 0)
        begun = self._begun.pop(run_id, None) is not None
        if ended is not None and (begun or restored):
            self._open[ended.namespace] -= ended.accepted + (results if begun else 0)


class EndedSize(NamedTuple):
    """The namespace of a run that ends, and how much it took when it was accepted."""

    namespace: str
    accepted: int


def run_bytes(record: RunRecord, inputs: Sequence[JsonText]) -> int:
    """About how many bytes a run takes without its results. The inputs are few: all are looked at."""
    size = inputs.size if isinstance(inputs, PackedTexts) else sum(map(len, inputs))
    return RUN_BYTES + size + len(record.variables) + len(record.overrides or "")


def read_stored(db: sqlite3.Connection) -> tuple[dict[str, int], dict[str, int]]:
    """What is settled, and what the runs take that have not ended."""
    settled = dict(db.execute("SELECT namespace, bytes FROM stored").fetchall())
    unfinished: Counter[str] = Counter()
    for owner, size in db.execute("SELECT owner, sum(bytes) FROM runs WHERE status IS NULL GROUP BY owner"):
        unfinished[namespace_of(owner)] += size or 0
    return settled, unfinished


def count_stored(db: sqlite3.Connection) -> str:
    """Count what a file of a version has that did not count; return in words what was done."""
    sizes: Counter[str] = Counter()
    for key, place in db.execute("SELECT blob_id, rowid FROM blobs").fetchall():
        sizes[namespace_of_blob(key)] += blob_bytes(db, place)
    indexed = "SELECT run FROM ended_runs WHERE run_id <= (SELECT run_id FROM indexed)"
    for (run,) in db.execute(indexed):
        sizes[read_ended(run)[0].namespace] += len(run)
    db.executemany(_ADD, list(sizes.items()))
    return f"{sum(sizes.values()):,} bytes are counted"


def blob_bytes(db: sqlite3.Connection, place: int) -> int:
    """How many bytes the blob in a row has."""
    # In SQL, to tell the length of a text is to read all of it.
    with db.blobopen("blobs", "content", place, readonly=True) as content:
        return len(content)
