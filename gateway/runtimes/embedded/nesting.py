"""Runs that are submitted inside other runs: how deep they nest, and how many of them one root run may have at once."""

from typing import NamedTuple
from urllib.parse import unquote

from gateway.core.errors import NestedTooDeeply, TooManyDescendants
from gateway.core.model import ObservabilityContext, canonical_run_id

MAX_DEPTH = 32
"""How deep runs may nest, unless told otherwise. A root run has the depth 0."""

MAX_DESCENDANTS = 100_000
"""How many items of nested runs one root run may have that have not ended, unless told otherwise."""


class ParentTask(NamedTuple):
    """The task that submits a run: its run, the flows that it runs in place, and its name in messages."""

    run_id: str
    loops: int
    name: str


class Ancestry(NamedTuple):
    """Where a nested run belongs: the root of its family, its depth below it, and the task that submits it."""

    root_id: str
    depth: int
    task: str


def parent_task(scope: str, trace: ObservabilityContext | None) -> ParentTask | None:
    """The task that submits a run; None if the caller is outside of any run.

    The scope of built-ins and of callbacks names it, as `Task.scope` does. Other callers name it in their trace, which
    they may forge.
    """
    run_id, *path = scope.split("/")
    if canonical_run_id(run_id) is not None:
        return ParentTask(run_id, (len(path) - 1) // 2, unquote(scope))
    claimed = canonical_run_id(trace.run_id) if trace and trace.run_id else None
    if trace is None or claimed is None:
        return None
    return ParentTask(claimed, 0, f"{claimed}/{trace.step_id}" if trace.step_id else claimed)


class Nesting:
    """Bounds the depth of all runs, and counts the live descendants of each root run.

    Descendants are counted in items: each item of a nested run counts until its run has ended.
    """

    def __init__(self, max_depth: int = MAX_DEPTH, max_descendants: int = MAX_DESCENDANTS) -> None:
        self._max_depth = max_depth
        self._max_descendants = max_descendants
        self._live: dict[str, int] = {}

    def refuse_deeper(self, depth: int, task: str) -> None:
        """Raise NestedTooDeeply if nothing may nest at this depth. `task` is what would start it."""
        if depth > self._max_depth:
            raise NestedTooDeeply(f"{task}: runs nest at most {self._max_depth} deep (max_depth)")

    def take(self, ancestry: Ancestry, items: int) -> None:
        """Count the items of a run that begins. Raises TooManyDescendants if its root may not have so many more."""
        if self.live(ancestry.root_id) + items > self._max_descendants:
            raise TooManyDescendants(
                f"{ancestry.task}: all runs nested in run {ancestry.root_id} have at most {self._max_descendants:,} "
                f"items at a time (max_descendants)"
            )
        self.add(ancestry.root_id, items)

    def add(self, root_id: str, items: int) -> None:
        """Count the items of a run that was accepted before."""
        self._live[root_id] = self.live(root_id) + items

    def give_back(self, root_id: str, items: int) -> None:
        """A run has ended: forget its items."""
        self._live[root_id] -= items
        if not self._live[root_id]:
            del self._live[root_id]

    def live(self, root_id: str) -> int:
        """How many items the runs have that are nested in a root run and have not ended."""
        return self._live.get(root_id, 0)
