"""The runs that a run is inside, and whether one of them is cancelled."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from gateway.core.errors import ParentCancelled
from gateway.core.model import RunState
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded.family_tree import Ancestor, FamilyTree, Relative


class KnownRun(NamedTuple):
    """A run as it was accepted, and its state if it has ended."""

    record: RunRecord
    ended: RunState | None


LookUp: TypeAlias = Callable[[str], Awaitable[KnownRun | None]]
"""Finds a run by its id; None if it is not kept any more."""


class Ancestors:
    """Finds the ancestors of runs: in the tree of their family, and those that it has forgotten by looking them up."""

    def __init__(self, tree: FamilyTree, look_up: LookUp) -> None:
        self._tree = tree
        self._look_up = look_up

    async def begin(self, run_id: str, parent_id: str, task: str) -> None:
        """A run begins, inside another one: it enters the tree. `task` names what submits it, in messages.

        Raises ParentCancelled if the other one, or any that this is inside, is cancelled.
        """
        while True:
            # When nothing has been cancelled meanwhile, the line holds.
            cancels = self._tree.cancels
            line = await self._line(parent_id, task)
            if self._tree.cancels == cancels:
                self._tree.enter(run_id, line)
                return

    async def check(self, parent_id: str, task: str) -> None:
        """Raise ParentCancelled if a run, or one that it is inside, is cancelled."""
        await self._line(parent_id, task)

    async def restore(self, run_id: str, parent_id: str) -> None:
        """A run from before, which has not ended, enters the tree."""
        self._tree.enter(run_id, await self._line(parent_id, None))

    async def _line(self, run_id: str, task: str | None) -> list[Ancestor]:
        """A run and all that it is inside. Without a `task`, it does not matter whether they are cancelled."""
        line: list[Ancestor] = []
        wanted: str | None = run_id
        while wanted is not None:
            if (relative := self._tree.get(wanted)) is not None:
                if task is not None:
                    refuse_cancelled(relative, task)
                return line + [Ancestor(each.run_id, each.live) for each in relative.line()]
            known = await self._look_up(wanted)
            if known is None:
                break
            if known.ended is RunState.CANCELLED and task is not None:
                raise _refusal(wanted, task)
            line.append(Ancestor(wanted, known.ended is None))
            wanted = parent_of(known.record)
        return line


def parent_of(record: RunRecord) -> str | None:
    """The run that a run was submitted by; of early runs only the outermost one is known."""
    return record.parent_id or record.root_id


def refuse_cancelled(relative: Relative, task: str) -> None:
    """Raise ParentCancelled if a run, or one that it is inside, is being cancelled."""
    for each in relative.line():
        if each.cancelled:
            raise _refusal(each.run_id, task)


def _refusal(run_id: str, task: str) -> ParentCancelled:
    """`task` names what would begin something, by its run first; of a caller outside of tasks it is only that run."""
    prefix = "" if task == run_id else f"{task}: "
    return ParentCancelled(f"{prefix}the run {run_id} is cancelled, so nothing may begin in it")
