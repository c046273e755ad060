"""Families of runs that have not ended: which run is inside which, and which are cancelled."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Ancestor(NamedTuple):
    """A run that another one is inside, and whether it has not ended."""

    run_id: str
    live: bool


class Relative:
    """A run in its family. `live`: it has not ended. `cancelled`: it is being cancelled, so nothing may begin in it."""

    __slots__ = ("cancelled", "children", "live", "parent", "run_id")

    def __init__(self, run_id: str, parent: "Relative | None", *, live: bool) -> None:
        self.run_id = run_id
        self.parent = parent
        self.live = live
        self.cancelled = False
        self.children: set[Relative] = set()

    def line(self) -> "Iterator[Relative]":
        """The run, and then all that it is inside, up to the root."""
        relative: Relative | None = self
        while relative is not None:
            yield relative
            relative = relative.parent

    @property
    def in_cancelled(self) -> bool:
        """Whether the run, or one that it is inside, is being cancelled."""
        return any(relative.cancelled for relative in self.line())


class FamilyTree:
    """The runs that are inside others, have others inside them, or are being cancelled, for as long as they are live.

    One that has ended stays while a run inside it has not: that one is still inside those further out. `cancels` counts
    the runs that have begun to be cancelled, so that others see whether what they have looked up still holds.
    """

    def __init__(self) -> None:
        self.cancels = 0
        self._relatives: dict[str, Relative] = {}

    def get(self, run_id: str) -> Relative | None:
        """The run with this id; None if nothing is known of its family."""
        return self._relatives.get(run_id)

    def enter(self, run_id: str, ancestors: Sequence[Ancestor]) -> Relative:
        """A run has begun, inside these: the one that submitted it first, the root last."""
        relatives = self._relatives
        missing = []
        parent = None
        for ancestor in ancestors:
            if (parent := relatives.get(ancestor.run_id)) is not None:
                break
            missing.append(ancestor)
        for ancestor in reversed(missing):
            parent = self._add(ancestor.run_id, parent, live=ancestor.live)
        return relatives.get(run_id) or self._add(run_id, parent, live=True)

    def leave(self, run_id: str) -> None:
        """A run has ended, or has not come to be."""
        relative = self._relatives.get(run_id)
        if relative is not None:
            relative.live = False
            self._prune(relative)

    def cancel(self, relative: Relative) -> None:
        """A run begins to be cancelled."""
        relative.cancelled = True
        self.cancels += 1

    def _add(self, run_id: str, parent: Relative | None, *, live: bool) -> Relative:
        relative = self._relatives[run_id] = Relative(run_id, parent, live=live)
        if parent is not None:
            parent.children.add(relative)
        return relative

    def _prune(self, relative: Relative) -> None:
        ended: Relative | None = relative
        while ended is not None and not ended.live and not ended.children:
            del self._relatives[ended.run_id]
            if ended.parent is not None:
                ended.parent.children.discard(ended)
            ended = ended.parent
