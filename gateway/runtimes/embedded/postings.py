"""The index of runs: for each term, the keys of the runs that have it, as rows of a SQLite table.

Rows of `runs` are indexed in the transaction that changes them, those of `ended_runs` later: `index_tail.IndexTail`.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from gateway.core.clock import now
from gateway.core.model import RunState
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded.run_keys import key_at, key_of_kept, key_of_new
from gateway.runtimes.embedded.run_terms import (
    ELSEWHERE,
    FLOW,
    FLOWS,
    NAMESPACE,
    STATE,
    Term,
    all_state_terms,
    state_terms,
    terms_of,
)
from gateway.storage.sqlite_file import insert_rows

_STATES: Final = [
    *all_state_terms(DEFAULT_NAMESPACE),
    *(term for term in all_state_terms("elsewhere") if term.kind == STATE),
]
"""These exist for ever."""
_STATE_TERMS: Final = "".join(
    f"INSERT OR IGNORE INTO terms VALUES (NULL, {term.kind}, '{term.text}', '{term.more}');" for term in _STATES
)

NAMESPACE_TERMS: Final = f"""
CREATE INDEX IF NOT EXISTS terms_by_name_elsewhere ON terms (more) WHERE kind = {FLOW + ELSEWHERE};
{_STATE_TERMS}
"""
"""What the index has for runs outside of the default namespace."""

POSTINGS_TABLES: Final = f"""
CREATE TABLE terms (term INTEGER PRIMARY KEY, kind INTEGER NOT NULL, text TEXT NOT NULL, more TEXT NOT NULL);
CREATE UNIQUE INDEX terms_by_text ON terms (kind, text, more);
CREATE INDEX terms_by_name ON terms (more) WHERE kind = {FLOW};
{NAMESPACE_TERMS}
CREATE TABLE postings (term INTEGER NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (term, key)) WITHOUT ROWID;
"""

_MANY: Final = 8
"""How many keys of one term are inserted by a statement of their own."""

_KNOWN: Final = 4_096
"""Of how many terms the numbers are kept in memory."""

NewRun: TypeAlias = tuple[RunRecord, RunState | None]
"""A run that is inserted, and its state; None if it has not ended."""


class Postings:
    """Writes the index. All methods but `forget` are called within a transaction, in the thread that writes."""

    def __init__(self) -> None:
        self._numbers: dict[Term, int] = {}
        self._usual: dict[tuple[str | None, ...], Sequence[int]] = {}

    def forget(self) -> None:
        """A transaction has been rolled back: terms that it has made do not exist."""
        self._numbers.clear()
        self._usual.clear()

    def add(self, db: sqlite3.Connection, runs: Iterable[NewRun]) -> None:
        """Runs are inserted."""
        keys: dict[int, list[int]] = defaultdict(list)
        for record, state in runs:
            key = key_of_new(db, record)
            for number in self._numbers_of(db, record, state, key):
                keys[number].append(key)
        rows = []
        for number, having in keys.items():
            if len(having) >= _MANY:
                db.execute("INSERT INTO postings SELECT ?, value FROM json_each(?)", (number, str(having)))
            else:
                rows += [(number, key) for key in having]
        insert_rows(db, "postings", rows)

    def end(self, db: sqlite3.Connection, run_id: str, state: RunState, *, nested: bool, namespace: str) -> None:
        """A run has ended that had not."""
        earlier, later = (state_terms(each, nested=nested, namespace=namespace) for each in (None, state))
        key = key_of_kept(db, run_id)
        for before, after in zip(earlier, later, strict=True):
            change = self._number(db, after), self._number(db, before), key
            db.execute("UPDATE postings SET term = ? WHERE term = ? AND key = ?", change)

    def remove(self, db: sqlite3.Connection, runs: Iterable[NewRun]) -> None:
        """Runs are deleted."""
        emptied = set()
        for record, state in runs:
            if (key := key_of_kept(db, record.run_id)) is None:
                continue
            terms = terms_of(record, state, key)
            emptied.update(terms)
            rows = [(self._number(db, term), key) for term in terms]
            db.executemany("DELETE FROM postings WHERE term = ? AND key = ?", rows)
            db.execute("DELETE FROM early_runs WHERE key = ? AND run_id = ?", (key, record.run_id))
        for term in emptied:
            if term.kind not in {STATE, STATE + ELSEWHERE}:
                self._remove_if_empty(db, term)

    def _remove_if_empty(self, db: sqlite3.Connection, term: Term) -> None:
        number = self._number(db, term)
        if db.execute("SELECT 1 FROM postings WHERE term = ? LIMIT 1", (number,)).fetchone() is None:
            db.execute("DELETE FROM terms WHERE term = ?", (number,))
            if term.kind == NAMESPACE:
                db.executemany("DELETE FROM terms WHERE kind = ? AND text = ? AND more = ?", _states_of(term.text))
            if term.kind in FLOWS:
                db.execute("UPDATE blob_uses SET used = ? WHERE blob_id = ?", (now(), term.text))
            self.forget()

    def _numbers_of(self, db: sqlite3.Connection, record: RunRecord, state: RunState | None, key: int) -> Sequence[int]:
        """The numbers of all terms of a run."""
        if record.root_id is not None or key != key_at(record.created_at):
            return [self._number(db, term) for term in terms_of(record, state, key)]
        # Most runs are like many others.
        kind = state, record.flow_id, record.flow_name, record.flow_label, record.labels, record.namespace
        numbers = self._usual.get(kind)
        if numbers is None:
            numbers = self._usual[kind] = [self._number(db, term) for term in terms_of(record, state, key)]
            if len(self._usual) > _KNOWN:
                self._usual.clear()
        return numbers

    def _number(self, db: sqlite3.Connection, term: Term) -> int:
        """The number of a term; a new one if there is no run with it yet."""
        number = self._numbers.get(term)
        if number is None:
            row = db.execute("SELECT term FROM terms WHERE kind = ? AND text = ? AND more = ?", term).fetchone()
            number = int(row[0]) if row else self._new(db, term)
            if len(self._numbers) >= _KNOWN:
                self._numbers.clear()
            self._numbers[term] = number
        return number

    def _new(self, db: sqlite3.Connection, term: Term) -> int:
        if term.kind == NAMESPACE:
            db.executemany("INSERT INTO terms VALUES (NULL, ?, ?, ?)", _states_of(term.text))
        return db.execute("INSERT INTO terms VALUES (NULL, ?, ?, ?)", term).lastrowid or 0


def _states_of(namespace: str) -> list[Term]:
    """The terms that exist as long as a namespace has runs."""
    return [term for term in all_state_terms(namespace) if term.kind != STATE]
