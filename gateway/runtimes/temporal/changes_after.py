"""Reads the changes that the poller of a set has found, for one follower."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.run_sets import SetChange, SetPart
from gateway.runtimes.temporal.known_runs import bucket_of
from gateway.runtimes.temporal.set_point import BUCKETS
from gateway.runtimes.temporal.set_poller import SetPoller

PART: Final = 16
"""How many changes come together."""


class ChangesAfter:
    """Goes on after so many changes, in all buckets or in each; from now on, if it is not said.

    `told` is what the follower knows besides of runs: when they were created, and their revisions.
    """

    def __init__(
        self,
        poller: SetPoller,
        after: int | Sequence[int] | None = None,
        told: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.are_lost = False
        """Whether the next ones are not kept any more."""
        self._poller = poller
        after = poller.count if after is None else after
        self._known_at = [after] * BUCKETS if isinstance(after, int) else after
        self._count = min(self._known_at)
        self._told = told or {}

    def next(self) -> SetPart | None:
        """Some of what follows; None if nothing does, or it is lost."""
        while self._count < self._poller.count:
            changes = self._poller.after(self._count, PART)
            if changes is None:
                self.are_lost = True
                return None
            news = [each for place, each in enumerate(changes, self._count) if not self._is_known(place, each)]
            self._count += len(changes)
            if news:
                return SetPart(news, news[-1].position)
        return None

    def _is_known(self, place: int, change: SetChange) -> bool:
        if place < self._known_at[bucket_of(change.run_id)]:
            return True
        told, status = self._told.get(change.run_id), change.status
        return told is not None and status is not None and (status.created_at, change.revision) <= told
