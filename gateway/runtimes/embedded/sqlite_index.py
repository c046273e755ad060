"""Reading the index of runs in a SQLite file.

Each statement returns one row, an array in JSON: each further row would cost a turn at the interpreter's lock.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from gateway.core.run_filter import RunFilter
from gateway.flows.run_ids import id_prefix, key_of
from gateway.runtimes.embedded.found_runs import read_found
from gateway.runtimes.embedded.journal import FoundRun
from gateway.runtimes.embedded.run_search import FEW, TERMS_TOGETHER, Bounds, RunIndex, Selector, scan

_KEYS_OF_TERM: Final = "SELECT key FROM postings WHERE term = ? AND key BETWEEN ? AND ? ORDER BY key {order} LIMIT ?"
_BEYOND: Final = "CAST(x'FF' AS TEXT)"
"""A text that is after all others: this byte is not in any of them."""


_RUNS_TOGETHER: Final = 128
"""How many runs are read together."""


class Search:
    """A search for runs, step by step, in the thread that reads."""

    def __init__(self, wanted: RunFilter, after: int | None, *, newest_first: bool, exact: bool = False) -> None:
        self._wanted, self._after, self._newest_first, self._exact = wanted, after, newest_first, exact
        self._scan: Iterator[list[int]] | None = None
        self._waiting: list[int] = []

    def keys(self, db: sqlite3.Connection) -> list[int] | None:
        """Return some keys of runs that may match; None if there are no more."""
        if self._scan is None:
            index = SqliteIndex(db)
            self._scan = scan(index, self._wanted, self._after, newest_first=self._newest_first, exact=self._exact)
        return next(self._scan, None)

    def step(self, db: sqlite3.Connection) -> list[FoundRun] | None:
        """Return some runs that may match; None if there are no more."""
        if not self._waiting:
            keys = self.keys(db)
            if keys is None:
                return None
            self._waiting = keys
        some, self._waiting = self._waiting[:_RUNS_TOGETHER], self._waiting[_RUNS_TOGETHER:]
        return read_found(db, some) if some else []


class SqliteIndex(RunIndex):
    """The index in a file, to be used in the thread of its connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def terms(self, selector: Selector, after: tuple[str, int] | None) -> list[tuple[str, int]]:
        kind, text, more, prefix = selector
        values: list[Any]
        if text is not None and more is not None:
            where, values, column = "text = ? AND more = ?", [text, more], "text"
        elif text is None:
            where, values, column = _where("more", str(more), prefix=prefix)
        elif prefix:
            where, values, column = _where("text", text, prefix=True)
        else:
            where, values, column = "text = ?", [text], "more"
        if after is not None:
            where += f" AND ({column}, term) > (?, ?)"
            values = [*values, *after]
        # The kind is written out, so that the index of one kind is used.
        rows = (
            f"SELECT {column} AS text, term FROM terms WHERE kind = {kind} AND {where} ORDER BY {column}, term LIMIT ?"
        )
        found = self._array(f"SELECT json_group_array(json_array(text, term)) FROM ({rows})", [*values, TERMS_TOGETHER])
        return [(text, term) for text, term in found]

    def keys(self, terms: Sequence[int], bounds: Bounds, limit: int) -> list[int]:
        assert len(terms) <= FEW
        rows = " UNION ALL ".join([f"SELECT key FROM ({_KEYS_OF_TERM})"] * len(terms))
        query = f"SELECT json_group_array(key) FROM (SELECT key FROM ({rows}) ORDER BY key {{order}} LIMIT ?)"
        values = [value for term in terms for value in (term, bounds.low, bounds.high, limit)]
        return self._keys(query, [*values, limit], bounds)

    def heads(self, terms: Sequence[int], bounds: Bounds) -> list[tuple[int, int]]:
        first = "max" if bounds.newest_first else "min"
        head = f"(SELECT {first}(key) FROM postings WHERE term = value AND key BETWEEN ? AND ?)"
        rows = f"SELECT {head} AS key, value AS term FROM json_each(?)"
        query = f"SELECT json_group_array(json_array(key, term)) FROM ({rows}) WHERE key IS NOT NULL"
        return [(key, term) for key, term in self._array(query, [bounds.low, bounds.high, _array(terms)])]

    def having(self, keys: Sequence[int], groups: Sequence[Sequence[int]]) -> list[int]:
        conditions = " AND ".join(
            f"EXISTS (SELECT 1 FROM postings WHERE term IN ({', '.join(map(str, group))}) AND key = value)"
            for group in groups
        )
        return self._array(f"SELECT json_group_array(value) FROM json_each(?) WHERE {conditions}", [_array(keys)])

    def size(self, terms: Sequence[int], bounds: Bounds, limit: int) -> int:
        rows = "SELECT 1 FROM json_each(?) CROSS JOIN postings ON term = value AND postings.key BETWEEN ? AND ? LIMIT ?"
        values = (_array(terms), bounds.low, bounds.high, limit)
        return int(self._db.execute(f"SELECT count(*) FROM ({rows})", values).fetchone()[0])

    def all_keys(self, bounds: Bounds, limit: int) -> list[int]:
        ids = []
        for table in ("ended_runs", "runs"):
            # The ids of early versions are among the others in the index of `runs`.
            rows = (
                f"SELECT run_id FROM {table} WHERE run_id >= ? AND run_id < ? AND substr(run_id, 15, 1) = '7' "
                "ORDER BY run_id {order} LIMIT ?"
            )
            query = f"SELECT json_group_array(run_id) FROM ({rows})".format(order=_order(bounds))
            ids += self._array(query, [id_prefix(bounds.low), id_prefix(bounds.high) + "~", limit])
        early = "SELECT key FROM early_runs WHERE key BETWEEN ? AND ? ORDER BY key {order} LIMIT ?"
        keys = self._keys(f"SELECT json_group_array(key) FROM ({early})", [bounds.low, bounds.high, limit], bounds)
        keys += [key for run_id in ids if (key := key_of(run_id)) is not None]
        keys.sort(reverse=bounds.newest_first)
        return keys[:limit]

    def _keys(self, query: str, values: Sequence[Any], bounds: Bounds) -> list[int]:
        keys = self._array(query.format(order=_order(bounds)), values)
        keys.sort(reverse=bounds.newest_first)
        return keys

    def _array(self, query: str, values: Sequence[Any]) -> list[Any]:
        found: list[Any] = json.loads(self._db.execute(query, values).fetchone()[0])
        return found


def _where(column: str, text: str, *, prefix: bool) -> tuple[str, list[Any], str]:
    """A condition on a column, its values, and the column."""
    if prefix:
        return f"{column} >= ? AND {column} < ? || {_BEYOND}", [text, text], column
    return f"{column} = ?", [text], column


def _order(bounds: Bounds) -> str:
    return "DESC" if bounds.newest_first else "ASC"


def _array(numbers: Sequence[int]) -> str:
    return str(list(numbers))
