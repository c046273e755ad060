"""What followers of a set of runs are sent."""

from typing import NamedTuple

from gateway.core.model import ItemStatistics, ResultOrder, RunState, RunStatus
from gateway.core.position import STARTS
from gateway.core.run_sets import SetChange, SetEvent
from gateway.runs.update import Update

_NO_ITEMS = ItemStatistics(total=0)


class ChangeUpdate(Update, frozen=True, eq=False, weakref=True):
    """A change of a set, and results of a run that has ended. Shared by followers; never changed.

    `token` names the point after it; only the last one of several updates with results has it. Of a run that is
    `deleted`, there is no status.
    """

    event: SetEvent = SetEvent.CHANGED
    token: bytes = b""
    deleted: bool = False

    @property
    def run_id(self) -> str:
        """The run that this is about."""
        return self.status.run_id

    def token_after(self, count: int) -> bytes:
        return self.token if count >= len(self.status.results or ()) and not self.more else b""


class SetCaughtUp(NamedTuple):
    """Everything is told that had happened when the set was asked for; `token` names the point after it.

    `restarted`: the token that was sent was not understood, and nothing has come before.
    """

    token: bytes
    restarted: bool


class SetHeartbeat(NamedTuple):
    """Nothing has happened; `token` names the point that was reached, if any."""

    token: bytes


def set_update(change: SetChange, *, restarted: bool = False) -> ChangeUpdate:
    """The update for a change, without results."""
    status, deleted = change.status, change.status is None
    if status is None:
        status = RunStatus(run_id=change.run_id, flow_id="", status=RunState.CANCELLED, items=_NO_ITEMS, created_at=0)
    return ChangeUpdate(
        status,
        change.revision,
        STARTS[ResultOrder.BY_INDEX],
        restarted=restarted,
        event=change.event,
        token=change.position,
        deleted=deleted,
    )
