"""Runs that are submitted inside other runs: how deep they nest, and how many of them one root run may have at once."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from gateway.concurrency.memory_account import MemoryAccount, MemoryShare
from gateway.core.errors import NestedTooDeeply, Overloaded, TooManyDescendants
from gateway.core.model import JsonText, ObservabilityContext, canonical_run_id
from gateway.core.packed_texts import PackedTexts
from gateway.flows.item_work import DEFAULT_CONCURRENCY
from gateway.flows.run_record import RunRecord

MAX_DEPTH = 32
"""How deep runs may nest, unless told otherwise. A root run has the depth 0."""

MAX_DESCENDANTS = 100_000
"""How many items of nested runs one root run may have that have not ended, unless told otherwise."""


RUN_BYTES = ITEM_BYTES = 16 << 10
INPUT_BYTES = 64
"""What a run takes in memory, about; each of its items that execute at the same time; and each input besides its text.
Items that wait for runs inside them take as much, so nothing else bounds a family of runs."""


class ParentTask(NamedTuple):
    """The task that submits a run: its run, the flows that it runs in place, and its name in messages."""

    run_id: str
    loops: int
    name: str


class Ancestry(NamedTuple):
    """Where a nested run belongs: the root of its family, its parent, its depth, and the task that submits it."""

    root_id: str
    parent_id: str
    depth: int
    task: str


def parent_task(scope: str, trace: ObservabilityContext | None) -> ParentTask | None:
    """The task that submits a run; None if the caller is outside of any run.

    The scope of built-ins and of callbacks names it, as `Task.scope` does. Other callers name it in their trace, which
    they may forge.
    """
    if not scope and trace is None:
        return None
    run_id, *path = scope.split("/")
    if canonical_run_id(run_id) is not None:
        return ParentTask(run_id, (len(path) - 1) // 2, unquote(scope))
    claimed = canonical_run_id(trace.run_id) if trace and trace.run_id else None
    if trace is None or claimed is None:
        return None
    return ParentTask(claimed, 0, f"{claimed}/{trace.step_id}" if trace.step_id else claimed)


def memory_of(record: RunRecord, inputs: Sequence[JsonText] = ()) -> int:
    """About how many bytes a run takes while it executes."""
    items = min(record.total, record.max_concurrency or DEFAULT_CONCURRENCY)
    size = inputs.size if isinstance(inputs, PackedTexts) else sum(map(len, inputs)) + INPUT_BYTES * len(inputs)
    return RUN_BYTES + ITEM_BYTES * items + size


class Nesting:
    """Bounds the depth of all runs, and counts the live descendants of each root run and the memory that they take.

    Descendants are counted in items: each item of a nested run counts until its run has ended. The descendants of one
    root run have one share of `account`.
    """

    def __init__(
        self,
        max_depth: int = MAX_DEPTH,
        max_descendants: int = MAX_DESCENDANTS,
        account: MemoryAccount | None = None,
    ) -> None:
        self._max_depth = max_depth
        self._max_descendants = max_descendants
        self._account = account or MemoryAccount()
        self._families: dict[str, _Family] = {}

    def refuse_deeper(self, depth: int, task: str) -> None:
        """Raise NestedTooDeeply if nothing may nest at this depth. `task` is what would start it."""
        if depth > self._max_depth:
            raise NestedTooDeeply(f"{task}: runs nest at most {self._max_depth} deep (max_depth)")

    def refuse_more(self, ancestry: Ancestry, items: int) -> None:
        """Raise TooManyDescendants if a root run may not have so many items in runs inside it."""
        if items > self._max_descendants:
            raise TooManyDescendants(
                f"{ancestry.task}: all runs nested in run {ancestry.root_id} have at most {self._max_descendants:,} "
                f"items at a time (max_descendants)"
            )

    def take(self, ancestry: Ancestry, items: int, size: int) -> None:
        """Count the items of a run that begins, and the bytes that it takes.

        Raises TooManyDescendants if its root may not have so many more items, and Overloaded if there is no memory.
        """
        self.refuse_more(ancestry, self.live(ancestry.root_id) + items)
        family = self._families.get(ancestry.root_id) or _Family(self._account.share("nested_runs"))
        try:
            family.share.take(size)
        except Overloaded as error:
            raise Overloaded(
                f"{ancestry.task}: the server has no memory left for a run inside another one",
                retry_after=error.retry_after,
            ) from None
        family.items += items
        self._families[ancestry.root_id] = family

    def add(self, root_id: str, items: int) -> None:
        """Count the items of a run that was accepted before."""
        family = self._families.get(root_id)
        if family is None:
            family = self._families[root_id] = _Family(self._account.share("nested_runs"))
        family.items += items

    def hold(self, root_id: str, size: int) -> int:
        """Count the bytes that a run takes that was accepted before. Return how many are counted: they may not fit."""
        try:
            self._families[root_id].share.take(size)
        except Overloaded:
            return 0
        return size

    def give_back(self, root_id: str, items: int, size: int) -> None:
        """A run has ended: forget its items, and the bytes that were counted for it."""
        family = self._families[root_id]
        family.items -= items
        family.share.give_back(size)
        if not family.items:
            del self._families[root_id]

    def live(self, root_id: str) -> int:
        """How many items the runs have that are nested in a root run and have not ended."""
        family = self._families.get(root_id)
        return 0 if family is None else family.items


class _Family:
    """The descendants of one root run that have not ended."""

    __slots__ = ("items", "share")

    def __init__(self, share: MemoryShare) -> None:
        self.share = share
        self.items = 0
