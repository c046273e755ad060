"""What followers of a run are sent."""

from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.model import RunStatus
from gateway.core.position import Position, ResumePoint
from gateway.core.runtime import Page, Snapshot


class Reading(NamedTuple):
    """What the results of an update were read for: a page that follows a position, in a state."""

    position: Position
    page: Page
    snapshot: Snapshot


@dataclass(slots=True, frozen=True, weakref_slot=True)
class Update:
    """One state of a run, and the results that follow a follower's position. Shared by followers; never changed.

    `completions` and `prefix` are those of the snapshot. `position` is the follower's after the update. `more`: the
    same state may have more results. `heartbeat`: the update says nothing new. `restarted`: the follower's resume token
    was not understood, and its results begin anew.
    """

    status: RunStatus
    revision: int
    position: Position
    completions: int = 0
    prefix: int = 0
    more: bool = False
    heartbeat: bool = False
    restarted: bool = False
    reading: Reading | None = None

    def position_after(self, count: int) -> Position:
        """The follower's position when it has been sent only the first `count` of the results."""
        results = self.status.results or []
        if self.reading is None or count >= len(results):
            return self.position
        position, page, snapshot = self.reading
        return position.after(page, results[:count], snapshot) if count else position

    def token_after(self, count: int) -> bytes:
        """The resume token of the point after this state, and the first `count` of its results."""
        return ResumePoint(self.position_after(count), self.revision).token(self.status.run_id)


def plain_update(snapshot: Snapshot, position: Position, *, heartbeat: bool = False) -> Update:
    """The update without results for a state."""
    return Update(
        snapshot.status, snapshot.revision, position, snapshot.completions, snapshot.prefix, heartbeat=heartbeat
    )
