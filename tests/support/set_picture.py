"""What a client knows of a set of runs, and checks of what it is told."""

from collections.abc import Iterable

from gateway.core.model import RunStatus
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetChange, SetEvent, SetPart


class SetPicture:
    """Folds what a set tells, as clients do. Nothing may come twice, unless it `may_repeat`."""

    def __init__(self, *, may_repeat: bool = False) -> None:
        self._may_repeat = may_repeat
        self.runs: dict[str, RunStatus] = {}
        self.position = b""
        self.caught_up = False
        self.told = 0

    def cut(self) -> None:
        """The stream was cut; it goes on after the position."""
        self.caught_up = False

    def fold(self, part: SetPart, first: int = 1_000_000) -> None:
        """Take a part, or its first changes: then the stream is cut."""
        if part.restarted:
            self.runs.clear()
            self.position = b""
        for change in part.changes[:first]:
            self.fold_one(change)
        if len(part.changes) <= first:
            self.position = part.position
            self.caught_up = self.caught_up or part.caught_up

    def fold_one(self, change: SetChange) -> None:
        """Take one change."""
        self.told += 1
        known = self.runs.get(change.run_id)
        if change.event is SetEvent.LEFT:
            self.runs.pop(change.run_id, None)
        else:
            assert change.status is not None
            assert self._may_repeat or change.status != known, f"told twice: {known}"
            self.runs[change.run_id] = change.status
        assert change.position > self.position, "positions grow"
        self.position = change.position


def those_of(wanted: RunFilter, statuses: Iterable[RunStatus]) -> dict[str, RunStatus]:
    """What a picture has to be."""
    return {status.run_id: status for status in statuses if wanted.matches(status)}
