"""Following a set of runs: what a runtime tells about the runs that match a filter."""

from enum import StrEnum
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

from gateway.core.model import MAX_TIMEOUT, MIN_HEARTBEAT, Message, RunStatus
from gateway.core.run_filter import RunFilter


class SetEvent(StrEnum):
    """What a run has come to be in a set."""

    ADDED = "added"
    CHANGED = "changed"
    LEFT = "left"


class SetParams(Message, frozen=True, kw_only=True):
    """Which set to follow, and how: `only_new` leaves out what is in it, and excludes a token.

    `heartbeat_interval`, in seconds, is how often at least to send something, over HTTP.
    """

    filter: RunFilter = field(default_factory=RunFilter)
    resume_token: bytes = b""
    only_new: bool = False
    include_results: bool = False
    heartbeat_interval: Annotated[float, Meta(ge=MIN_HEARTBEAT, le=MAX_TIMEOUT)] | None = None


class SetChange(Struct, frozen=True, gc=False):
    """A change of a set. `position` names the point after it. `status` is None if the run has been deleted.

    Positions of a set grow, as bytes, as the set goes on: who reads the same set from two points can compare them.
    """

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
