"""The index of runs in memory: for each term, the keys of the runs that have it, in order.

It is behind by some runs, and made up before anybody reads it: most runs are like many others, so that many together
take a tenth of the time.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final

from gateway.core.model import RunState
from gateway.flows.run_ids import key_of
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded.run_keys import key_at
from gateway.runtimes.embedded.run_search import TERMS_TOGETHER, Bounds, RunIndex, Selector
from gateway.runtimes.embedded.run_terms import ELSEWHERE, FLOW, FLOWS, Term, state_terms, terms_of

_named_by: Final = attrgetter("flow_id", "flow_name", "flow_label", "labels", "parent_id", "root_id", "namespace")

BEHIND: Final = 128
"""How many runs the index may be behind: some 0.2 ms."""


class _OrderedKeys:
    """Numbers in order. Runs are nearly always added at the end and removed at the beginning."""

    __slots__ = ("_begin", "_numbers")

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._begin = 0

    def __len__(self) -> int:
        return len(self._numbers) - self._begin

    def add(self, keys: Sequence[int]) -> None:
        """Add some keys, which are in order."""
        numbers = self._numbers
        if not numbers or keys[0] > numbers[-1]:
            numbers.extend(keys)
        else:
            for key in keys:
                numbers.insert(bisect_left(numbers, key, self._begin), key)

    def remove(self, key: int) -> None:
        place = bisect_left(self._numbers, key, self._begin)
        if place > self._begin:
            del self._numbers[place]
            return
        self._begin += 1
        if self._begin * 2 > len(self._numbers):
            del self._numbers[: self._begin]
            self._begin = 0

    def has(self, key: int) -> bool:
        place = bisect_left(self._numbers, key, self._begin)
        return place < len(self._numbers) and self._numbers[place] == key

    def first(self, bounds: Bounds, limit: int) -> list[int]:
        start, stop = self._range(bounds)
        if bounds.newest_first:
            return list(self._numbers[max(start, stop - limit) : stop])[::-1]
        return list(self._numbers[start : min(stop, start + limit)])

    def count(self, bounds: Bounds) -> int:
        start, stop = self._range(bounds)
        return max(0, stop - start)

    def _range(self, bounds: Bounds) -> tuple[int, int]:
        numbers, begin = self._numbers, self._begin
        return bisect_left(numbers, bounds.low, begin), bisect_right(numbers, bounds.high, begin)


class MemoryIndex(RunIndex):
    """Finds runs, and knows their ids by their keys."""

    def __init__(self) -> None:
        self.run_ids: dict[int, str] = {}
        self._numbers: dict[Term, int] = {}
        self._keys: dict[int, _OrderedKeys] = {}
        self._ordered: dict[tuple[int, str], list[tuple[str, int]]] = {}
        self._all = _OrderedKeys()
        self._next_term = 0
        self._early: dict[str, int] = {}
        self._missing: dict[str, tuple[RunRecord, RunState | None]] = {}

    def add(self, record: RunRecord, state: RunState | None) -> None:
        """A run is accepted; None: it has not ended."""
        self._missing[record.run_id] = record, state
        if len(self._missing) >= BEHIND:
            self.make_up()

    def make_up(self) -> None:
        """Index the runs that are missing: to be called before anybody begins to look for runs."""
        alike: dict[Hashable, tuple[list[Term], list[int]]] = {}
        for run_id, (record, state) in self._missing.items():
            key = key_of(run_id)
            if key is None:
                key = self._early_key(record)
            self.run_ids[key] = run_id
            kind = state, key == key_at(record.created_at), _named_by(record)
            same = alike.get(kind)
            if same is None:
                same = alike[kind] = terms_of(record, state, key), []
            same[1].append(key)
        self._missing.clear()
        for terms, keys in alike.values():
            keys.sort()
            self._all.add(keys)
            for term in terms:
                self._of(term).add(keys)

    def end(self, record: RunRecord, state: RunState) -> None:
        """A run has ended that had not."""
        if record.run_id in self._missing:
            self._missing[record.run_id] = record, state
            return
        key = self._key(record.run_id)
        for before, after in zip(_state_terms(record, None), _state_terms(record, state), strict=True):
            self._remove(before, key)
            self._of(after).add((key,))

    def remove(self, record: RunRecord, state: RunState | None) -> None:
        """A run is deleted."""
        if self._missing.pop(record.run_id, None) is not None:
            return
        key = self._key(record.run_id)
        del self.run_ids[key]
        self._all.remove(key)
        for term in terms_of(record, state, key):
            self._remove(term, key)
        self._early.pop(record.run_id, None)

    def terms(self, selector: Selector, after: tuple[str, int] | None) -> list[tuple[str, int]]:
        kind, text, more, prefix = selector
        if text is not None and more is not None:
            number = self._numbers.get(Term(kind, text, more))
            return [] if number is None or after is not None else [(text, number)]
        column, wanted = ("more", str(more)) if text is None else ("text", text)
        ordered = self._ordered.get((kind, column), [])
        start = bisect_left(ordered, (wanted, -1)) if after is None else bisect_right(ordered, after)
        found = []
        for entry in islice(ordered, start, start + TERMS_TOGETHER):
            if not (entry[0].startswith(wanted) if prefix else entry[0] == wanted):
                break
            found.append(entry)
        return found

    def keys(self, terms: Sequence[int], bounds: Bounds, limit: int) -> list[int]:
        lists = [self._keys[term].first(bounds, limit) for term in terms if term in self._keys]
        if len(lists) == 1:
            return lists[0]
        return list(islice(merge(*lists, reverse=bounds.newest_first), limit))

    def heads(self, terms: Sequence[int], bounds: Bounds) -> list[tuple[int, int]]:
        return [(first[0], term) for term in terms if (first := self.keys([term], bounds, 1))]

    def having(self, keys: Sequence[int], groups: Sequence[Sequence[int]]) -> list[int]:
        lists = [[self._keys[term] for term in group if term in self._keys] for group in groups]
        return [key for key in keys if all(any(each.has(key) for each in group) for group in lists)]

    def size(self, terms: Sequence[int], bounds: Bounds, limit: int) -> int:
        return min(limit, sum(self._keys[term].count(bounds) for term in terms if term in self._keys))

    def all_keys(self, bounds: Bounds, limit: int) -> list[int]:
        return self._all.first(bounds, limit)

    def has_flow(self, key: str) -> bool:
        """Whether a run is of the flow in the blob with a key."""
        self.make_up()
        return any(self.terms(Selector(kind, key), None) for kind in FLOWS)

    def _early_key(self, record: RunRecord) -> int:
        key = max([key_at(record.created_at), *(key + 1 for key in self._early.values())])
        self._early[record.run_id] = key
        return key

    def _key(self, run_id: str) -> int:
        key = key_of(run_id)
        return self._early[run_id] if key is None else key

    def _of(self, term: Term) -> _OrderedKeys:
        number = self._numbers.get(term)
        if number is None:
            number = self._numbers[term] = self._next_term
            self._next_term += 1
            self._keys[number] = _OrderedKeys()
            for column, text in _ordering(term):
                insort(self._ordered.setdefault((term.kind, column), []), (text, number))
        return self._keys[number]

    def _remove(self, term: Term, key: int) -> None:
        number = self._numbers[term]
        keys = self._keys[number]
        keys.remove(key)
        if not keys:
            del self._numbers[term], self._keys[number]
            for column, text in _ordering(term):
                ordered = self._ordered[term.kind, column]
                del ordered[bisect_left(ordered, (text, number))]


def _state_terms(record: RunRecord, state: RunState | None) -> list[Term]:
    return state_terms(state, nested=record.root_id is not None, namespace=record.namespace)


def _ordering(term: Term) -> tuple[tuple[str, str], ...]:
    """By which of its texts a term is looked for, besides by both."""
    by_text = ("text", term.text)
    return (by_text, ("more", term.more)) if term.kind in {FLOW, FLOW + ELSEWHERE} else (by_text,)
