"""Finding the runs that match a filter, in the order of their keys: the terms they must have, and a scan of the index.

A scan takes the keys of the rarest of the terms and looks which of them have the others. It goes in steps, each of
which takes about a millisecond, and holds nothing of the index between two steps but keys.
"""

import heapq
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import Final, NamedTuple

from gateway.core.model import TERMINAL_STATES, RunState
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.run_filter import RunFilter
from gateway.runtimes.embedded.run_keys import KEY_BITS, key_at
from gateway.runtimes.embedded.run_terms import (
    ELSEWHERE,
    FLOW,
    FLOW_LABEL,
    LABEL,
    NAMESPACE,
    NESTED,
    NESTED_ELSEWHERE,
    OUT_OF_ORDER,
    PARENT_RUN,
    ROOT,
    ROOT_ELSEWHERE,
    ROOT_RUN,
    STATE,
    UNFINISHED,
    UNNAMED_FLOW,
    kind_in,
    more_in,
    state_in,
    text_in,
)

FEW: Final = 16
"""Of how many terms the keys are read together. The states of a run change, so those of all states have to be."""

PROBED: Final = 128
"""How many terms a group may have so that it is looked up whether a run has one of them; else the run itself tells."""

STEP: Final = 512
"""How many keys a step looks at."""

TERMS_TOGETHER: Final = 1_024
"""How many terms a step looks at."""

_SIZES: Final = (1 << 12, 1 << 16)
"""How far the runs are counted that have the terms of a group, to find the rarest ones."""

_BUFFER: Final = 32


class Selector(NamedTuple):
    """Terms of one kind: with this text, unless it is None, and this further text, unless it is None.

    `prefix`: they begin with it. One of the two texts is given.
    """

    kind: int
    text: str | None = None
    more: str | None = None
    prefix: bool = False


class Bounds(NamedTuple):
    """Keys from `low` to `high`, both included, and in which order they come."""

    low: int
    high: int
    newest_first: bool

    def after(self, key: int) -> "Bounds":
        """The part that follows a key."""
        return self._replace(high=key - 1) if self.newest_first else self._replace(low=key + 1)


class RunIndex(ABC):
    """Looks into the index of runs. Each call takes about a millisecond at most. Terms are numbers."""

    @abstractmethod
    def terms(self, selector: Selector, after: tuple[str, int] | None) -> list[tuple[str, int]]:
        """TERMS_TOGETHER terms that a selector selects, after one of them, each with the text that orders them."""

    @abstractmethod
    def keys(self, terms: Sequence[int], bounds: Bounds, limit: int) -> list[int]:
        """The first keys of runs that have one of FEW terms."""

    @abstractmethod
    def heads(self, terms: Sequence[int], bounds: Bounds) -> list[tuple[int, int]]:
        """For each of TERMS_TOGETHER terms that has a key in the bounds: its first key, and the term."""

    @abstractmethod
    def having(self, keys: Sequence[int], groups: Sequence[Sequence[int]]) -> list[int]:
        """Those of some keys, in any order, whose runs have one of the terms of each group."""

    @abstractmethod
    def size(self, terms: Sequence[int], bounds: Bounds, limit: int) -> int:
        """How many keys terms have within the bounds, counted up to `limit`."""

    @abstractmethod
    def all_keys(self, bounds: Bounds, limit: int) -> list[int]:
        """The first keys of all runs."""


def selectors(wanted: RunFilter, namespaces: Sequence[str]) -> list[list[Selector]]:
    """What a run must have to match a filter, apart from its time: one term of each of these groups.

    `namespaces` are those of the runs that may match: the one that is wanted, or all.
    """
    named = _named(wanted)
    groups = [[_in(selector, namespace) for selector in group for namespace in namespaces] for group in named]
    if wanted.states or wanted.roots_only or (wanted.namespace is not None and not groups):
        groups.append(_states(wanted))
    return groups


def _named(wanted: RunFilter) -> list[list[Selector]]:
    """What a run must have besides its state, in the default namespace."""
    groups = [[Selector(LABEL, name, value)] for name, value in wanted.labels.items()]
    if wanted.flow_label is not None:
        groups.append([_pattern(FLOW_LABEL, wanted.flow_label)])
    if wanted.parent_run_id is not None:
        groups.append([Selector(PARENT_RUN, wanted.parent_run_id, "")])
    if wanted.root_run_id is not None:
        groups.append([Selector(ROOT_RUN, wanted.root_run_id, "")])
    if wanted.flow_ids:
        kinds = (FLOW, UNNAMED_FLOW) if wanted.flow_name is None else (FLOW,)
        groups.append([Selector(kind, flow_id) for flow_id in dict.fromkeys(wanted.flow_ids) for kind in kinds])
    elif wanted.flow_name is not None:
        prefix = wanted.flow_name.endswith("*")
        name = wanted.flow_name[:-1] if prefix else wanted.flow_name
        groups.append([Selector(FLOW, None, name, prefix)])
    return groups


def _in(selector: Selector, namespace: str) -> Selector:
    """What selects the terms of a namespace that a selector selects in the default one."""
    kind, text, more, prefix = selector
    return Selector(
        kind_in(kind, namespace),
        None if text is None else text_in(kind, text, namespace),
        None if more is None else more_in(kind, more, namespace),
        prefix,
    )


def _pattern(kind: int, pattern: str) -> Selector:
    return Selector(kind, pattern[:-1], None, prefix=True) if pattern.endswith("*") else Selector(kind, pattern, "")


def _states(wanted: RunFilter) -> list[Selector]:
    named = wanted.states or tuple(RunState)
    states = dict.fromkeys(state.value if state in TERMINAL_STATES else UNFINISHED for state in named)
    within = [ROOT] if wanted.roots_only else [ROOT, NESTED]
    kind, namespace = STATE, wanted.namespace
    if namespace is None:
        within += [ROOT_ELSEWHERE] if wanted.roots_only else [ROOT_ELSEWHERE, NESTED_ELSEWHERE]
    elif namespace != DEFAULT_NAMESPACE:
        kind, within = STATE + ELSEWHERE, [state_in(of, namespace) for of in within]
    return [Selector(kind, state, of) for state in states for of in within]


def is_exact(wanted: RunFilter) -> bool:
    """Whether the index alone tells which runs match."""
    unfinished = {state for state in RunState if state not in TERMINAL_STATES}
    return (
        wanted.created_after is None
        and wanted.created_before is None
        and wanted.flow_name is None
        and not (wanted.flow_label or "").endswith("*")
        and len(wanted.flow_ids) * 2 <= PROBED
        and len(unfinished.intersection(wanted.states)) in {0, len(unfinished)}
    )


def scan(
    index: RunIndex, wanted: RunFilter, after: int | None, *, newest_first: bool, exact: bool = False
) -> Iterator[list[int]]:
    """Yield the keys of runs that may match, in order, and only those after a key; an empty list is a step, too.

    A run that matches from the first step to the last is always among them. Whether one matches, it tells itself.
    If the filter `is_exact`, and this is to be `exact`, all do. With many namespaces, a step takes longer then.
    """
    namespaces = [wanted.namespace or DEFAULT_NAMESPACE]
    if wanted.namespace is None:
        yield from _others(index, namespaces)
    groups = []
    for group in selectors(wanted, namespaces):
        terms: list[int] = []
        for selector in group:
            yield from _select(index, selector, terms)
        if not terms:
            return
        groups.append(terms)
    late: list[int] = []
    if wanted.created_before is not None:
        for namespace in namespaces:
            yield from _select(index, _in(Selector(OUT_OF_ORDER, "", ""), namespace), late)
    for terms_of_part, bounds in _parts(wanted, groups, late, newest_first=newest_first):
        rest = bounds
        if after is not None:
            begun = bounds.after(after)
            rest = bounds._replace(low=max(bounds.low, begun.low), high=min(bounds.high, begun.high))
        if rest.low <= rest.high:
            yield from _scan_part(index, terms_of_part, rest, exact=exact)


def _parts(
    wanted: RunFilter, groups: list[list[int]], late: list[int], *, newest_first: bool
) -> list[tuple[list[list[int]], Bounds]]:
    """The ranges of keys in which runs may match, in order, each with the groups of terms that they must have there.

    `late` is the term of runs whose keys are later than their times, since the clock had been set back.
    """
    low = 0 if wanted.created_after is None else key_at(wanted.created_after)
    highest = (1 << KEY_BITS) - 1
    if wanted.created_before is None:
        return [(groups, Bounds(low, highest, newest_first))]
    high = key_at(wanted.created_before)
    parts = [(groups, Bounds(low, high, newest_first))]
    if late:
        parts.append(([late, *groups], Bounds(max(low, high + 1), highest, newest_first)))
    return parts[::-1] if newest_first else parts


def _others(index: RunIndex, namespaces: list[str]) -> Iterator[list[int]]:
    """Add the namespaces besides the default one that there are runs in."""
    last: tuple[str, int] | None = None
    while some := index.terms(Selector(NAMESPACE, "", None, prefix=True), last):
        namespaces += [text for text, _ in some]
        if len(some) < TERMS_TOGETHER:
            return
        last = some[-1]
        yield []


def _select(index: RunIndex, selector: Selector, terms: list[int]) -> Iterator[list[int]]:
    last: tuple[str, int] | None = None
    while True:
        some = index.terms(selector, last)
        terms += [term for _, term in some]
        if len(some) < TERMS_TOGETHER:
            return
        last = some[-1]
        yield []


def _scan_part(index: RunIndex, groups: list[list[int]], bounds: Bounds, *, exact: bool) -> Iterator[list[int]]:
    if not groups:
        yield from _all(index, bounds)
        return
    driver = groups[0]
    if len(groups) > 1:
        driver = yield from _rarest(index, groups, bounds)
    probed = [group for group in groups if group is not driver and (exact or len(group) <= PROBED)]
    keys = _of_few(index, driver, bounds) if len(driver) <= FEW else _merged(index, driver, bounds)
    for some in keys:
        if some and probed:
            having = set(index.having(some, probed))
            yield [key for key in some if key in having]
        else:
            yield some


def _rarest(index: RunIndex, groups: list[list[int]], bounds: Bounds) -> Generator[list[int], None, list[int]]:
    """Return the group of terms that the fewest runs have, as far as they are counted."""
    for limit in _SIZES:
        sizes = []
        for group in groups:
            sizes.append(index.size(group[:limit], bounds, limit))
            yield []
        if min(sizes) < limit:
            break
    return groups[sizes.index(min(sizes))]


def _all(index: RunIndex, bounds: Bounds) -> Iterator[list[int]]:
    while keys := index.all_keys(bounds, STEP):
        yield keys
        bounds = bounds.after(keys[-1])


def _of_few(index: RunIndex, terms: list[int], bounds: Bounds) -> Iterator[list[int]]:
    while keys := index.keys(terms, bounds, STEP):
        yield keys
        bounds = bounds.after(keys[-1])


def _merged(index: RunIndex, terms: list[int], bounds: Bounds) -> Iterator[list[int]]:
    """The keys of many terms: a heap has the next key of each."""
    sign = -1 if bounds.newest_first else 1
    heap: list[tuple[int, int, list[int]]] = []
    for start in range(0, len(terms), TERMS_TOGETHER):
        heads = index.heads(terms[start : start + TERMS_TOGETHER], bounds)
        heap += [(sign * key, term, []) for key, term in heads]
        yield []
    heapq.heapify(heap)
    found: list[int] = []
    reads = 0
    while heap:
        signed, term, following = heap[0]
        key = sign * signed
        found.append(key)
        if not following:
            # In the order in which they are taken from the end.
            following = index.keys([term], bounds.after(key), _BUFFER)[::-1]
            reads += 1
        if following:
            heapq.heapreplace(heap, (sign * following.pop(), term, following))
        else:
            heapq.heappop(heap)
        if reads == _BUFFER or len(found) == STEP:
            yield found
            found, reads = [], 0
    yield found
