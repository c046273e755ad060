"""Which failures an audit log tells one by one: a few in each period. The others are counted, and told as counts."""

import threading
import time
from collections import Counter
from typing import Final, NamedTuple

PERIOD: Final = 10.0
"""Seconds after which failures are told one by one again, and those of before as counts."""

OF_A_KIND: Final = 5
IN_ALL: Final = 200
"""How many failures are told one by one in a period: those that are alike, and all."""

MOST_KINDS: Final = 256
"""How many kinds of failures are counted apart. Those of others are counted together."""


class FailureKind(NamedTuple):
    """Failures that are alike."""

    identity: str
    front: str
    method: str
    code: str
    reason: str


_OTHERS: Final = FailureKind("", "", "", "", "MANY")


class FailureCounts:
    """Counts failures: in one thread, while another one takes the counts of a period that is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._told: Counter[FailureKind] = Counter()
        self._hidden: Counter[FailureKind] = Counter()
        self._left = IN_ALL

    @property
    def hides(self) -> bool:
        """Whether failures have been counted and not told."""
        return bool(self._hidden)

    def tells(self, kind: FailureKind) -> bool:
        """Count a failure, and return whether it is told by itself."""
        with self._lock:
            if self._left and self._told[kind] < OF_A_KIND:
                self._told[kind] += 1
                self._left -= 1
                return True
            if kind not in self._hidden and len(self._hidden) >= MOST_KINDS:
                kind = _OTHERS
            self._hidden[kind] += 1
            return False

    def over(self, *, at_once: bool = False) -> list[tuple[FailureKind, int]]:
        """How many failures of each kind were not told, once the period is over; then the next one begins."""
        with self._lock:
            now = time.monotonic()
            if not at_once and now - self._begun < PERIOD:
                return []
            hidden = list(self._hidden.items())
            self._begun, self._left = now, IN_ALL
            self._told.clear()
            self._hidden.clear()
            return hidden
