"""What followers of a run are sent."""

from typing import Any, NamedTuple

from msgspec import Struct, field

from gateway.core.model import RunStatus
from gateway.core.position import Position, resume_token
from gateway.core.runtime import Page, Snapshot


class Reading(NamedTuple):
    """What the results of an update were read for: a page that follows a position, in a state."""

    position: Position
    page: Page
    snapshot: Snapshot


class Update(Struct, frozen=True, eq=False, weakref=True):
    """One state of a run, and the results that follow a follower's position. Shared by followers; never changed.

    `completions` and `prefix` are those of the snapshot. `position` is the follower's after the update. `more`: the
    same state may have more results. `heartbeat`: the update says nothing new. `restarted`: the follower's resume token
    was not understood, and its results begin anew. `made` has what fronts have made of it for all followers, each under
    a key of its own; nothing in it refers to the update.
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
    made: dict[object, Any] = field(default_factory=dict)

    def position_after(self, count: int) -> Position:
        """The follower's position when it has been sent only the first `count` of the results."""
        if self.reading is None or count >= len(results := self.status.results or []):
            return self.position
        position, page, snapshot = self.reading
        return position.after(page, results[:count], snapshot) if count else position

    def token_after(self, count: int) -> bytes:
        """The resume token of the point after this state, and the first `count` of its results."""
        return resume_token(self.status.run_id, self.position_after(count), self.revision)


def plain_update(snapshot: Snapshot, position: Position, *, heartbeat: bool = False) -> Update:
    """The update without results for a state."""
    return Update(
        snapshot.status, snapshot.revision, position, snapshot.completions, snapshot.prefix, heartbeat=heartbeat
    )
