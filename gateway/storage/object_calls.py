"""Counts the calls on object storage, how long they take, and their bytes."""

import time
from typing import Final, Literal, TypeAlias

from gateway.core.upstream_calls import UpstreamOutcome
from gateway.telemetry.gateway_metrics import OBJECT_BYTES, OBJECT_CALLS, OBJECT_SECONDS

ObjectOperation: TypeAlias = Literal["start", "get", "put", "size", "delete", "list"]

_OUTCOMES: Final[tuple[UpstreamOutcome, ...]] = ("ok", "error", "unavailable", "cancelled")

BYTES_READ: Final = OBJECT_BYTES.labels("read")
BYTES_WRITTEN: Final = OBJECT_BYTES.labels("written")


class ObjectCalls:
    """Counts the calls of one kind. That an object is missing is a good answer."""

    def __init__(self, operation: ObjectOperation) -> None:
        self._cells = {outcome: OBJECT_CALLS.labels(operation, outcome) for outcome in _OUTCOMES}
        self._seconds = OBJECT_SECONDS.labels(operation)

    def count(self, outcome: UpstreamOutcome, began: float) -> None:
        """Count a call that has ended, and began at this reading of the monotonic clock."""
        self._cells[outcome].value += 1
        self._seconds.observe(time.monotonic() - began)
