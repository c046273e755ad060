"""Following a set of runs: what a runtime tells about the runs that match a filter."""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from gateway.core.model import RunStatus


class SetEvent(StrEnum):
    """What a run has come to be in a set."""

    ADDED = "added"
    CHANGED = "changed"
    LEFT = "left"


class SetChange(Struct, frozen=True, gc=False):
    """A change of a set. `position` names the point after it. `status` is None if the run has been deleted."""

    event: SetEvent
    run_id: str
    status: RunStatus | None
    revision: int
    position: bytes


class SetPart(NamedTuple):
    """Some changes of a set, in their order, and the point after them.

    `caught_up`: with them, everything is told that had happened when the set was asked for; one part says so, and later
    ones tell what happens. `restarted`: the position that was asked for is not understood, or too old: the set begins
    anew.
    """

    changes: list[SetChange]
    position: bytes
    caught_up: bool = False
    restarted: bool = False
