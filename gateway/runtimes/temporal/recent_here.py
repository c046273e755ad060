"""What has just happened to runs on this gateway: visibility may not know it yet."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import takewhile
from typing import Final

from gateway.core.model import Nanoseconds
from gateway.flows.run_record import RunRecord

RECENT_SECONDS: Final = 30.0
"""After how long visibility knows, usually: it takes milliseconds with SQL, and a second or two with Elasticsearch."""

DELETED_SECONDS: Final = 180.0
"""After how long visibility has forgotten a run that was deleted: the engine comes to that within about a minute."""

RECENT: Final = 10_000
"""How many runs are noted at most."""


class RecentHere:
    """Runs that were submitted here, or have ended, for RECENT_SECONDS, and those deleted here, for DELETED_SECONDS."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, tuple[float, RunRecord]] = OrderedDict()
        self._deleted: OrderedDict[str, tuple[float, Nanoseconds]] = OrderedDict()

    def changed(self, record: RunRecord) -> None:
        """Note that a run was submitted, or has ended."""
        self._runs[record.run_id] = time.monotonic(), record
        self._runs.move_to_end(record.run_id)
        if len(self._runs) > RECENT:
            self._runs.popitem(last=False)

    def deleted(self, run_id: str, created_at: Nanoseconds) -> None:
        """Note that a run was deleted, which was accepted at this time."""
        noted = self._runs.get(run_id)
        if noted is not None and noted[1].created_at == created_at:
            del self._runs[run_id]
        self._deleted[run_id] = time.monotonic(), created_at
        self._deleted.move_to_end(run_id)
        if len(self._deleted) > RECENT:
            self._deleted.popitem(last=False)

    def was_deleted(self, record: RunRecord) -> bool:
        """Whether a run was deleted here. One that its key has made later was not."""
        deleted = self._deleted.get(record.run_id)
        return deleted is not None and record.created_at <= deleted[1]

    def created(self, low: Nanoseconds, high: Nanoseconds) -> Iterator[RunRecord]:
        """The runs that were created between two times."""
        self._expire()
        for _, record in self._runs.values():
            if low <= record.created_at < high:
                yield record

    def changed_since(self, moment: float) -> list[RunRecord]:
        """The runs that have changed since a time of `time.monotonic()`, the last one first."""
        self._expire()
        return [record for _, record in takewhile(lambda run: run[0] >= moment, reversed(self._runs.values()))]

    def since(self) -> Nanoseconds | None:
        """When the first of these runs was created; None if there are none."""
        self._expire()
        return min((record.created_at for _, record in self._runs.values()), default=None)

    def _expire(self) -> None:
        now = time.monotonic()
        while self._runs and next(iter(self._runs.values()))[0] < now - RECENT_SECONDS:
            self._runs.popitem(last=False)
        while self._deleted and next(iter(self._deleted.values()))[0] < now - DELETED_SECONDS:
            self._deleted.popitem(last=False)
