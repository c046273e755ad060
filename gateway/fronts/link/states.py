"""The states of runs and their results, as links tell them."""

from collections.abc import Sequence

from msgspec import Raw
from msgspec.msgpack import Encoder
from msgspec.structs import replace

from gateway.core.clock import LATEST
from gateway.core.model import ItemResult, Nanoseconds, RunStatus
from gateway.core.runtime import Snapshot, text_size
from gateway.peers.link.messages import (
    MAX_LABEL_TEXT,
    MAX_NAME,
    MAX_RESULT_TEXT,
    MAX_RESULTS,
    EncodedState,
    NotOverLink,
    ToldState,
)


class SharedStates:
    """The states of followed runs, each encoded once for all workers that are told it one after the other."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._latest: Snapshot | None = None
        self._encoded: Raw | None = None

    def told(self, call: int, snapshot: Snapshot) -> EncodedState | NotOverLink:
        """What tells a state to a worker that follows the run by this call."""
        if snapshot is not self._latest:
            told = state_told(call, snapshot)
            self._encoded = Raw(self._encoder.encode(told.snapshot)) if isinstance(told, ToldState) else None
            self._latest = snapshot
        if self._encoded is None:
            return NotOverLink(call, snapshot.status.run_id)
        return EncodedState(call, self._encoded)


def state_told(call: int, snapshot: Snapshot) -> ToldState | NotOverLink:
    """A state, with the results that it has at hand if there are few."""
    status, results = snapshot.status, snapshot.results
    if not _is_short(status):
        return NotOverLink(call, status.run_id)
    if results is not None and part_end(results, 0) < len(results):
        snapshot = replace(snapshot, results=None)
    return ToldState(call, snapshot)


def _is_short(status: RunStatus) -> bool:
    if status.extensions or status.items.extensions or len(status.flow_name or "") > MAX_NAME:
        return False
    if status.labels and sum(len(name) + len(value) for name, value in status.labels.items()) > MAX_LABEL_TEXT:
        return False
    return (
        _is_kept(status.created_at)
        and _is_kept(status.completed_at)
        and _is_kept(status.started_at)
        and _is_kept(status.expires_at)
    )


def part_end(results: Sequence[ItemResult], start: int) -> int:
    """Where the part of a page that begins with this result ends; there, if that result is too long for a link."""
    end = min(start + MAX_RESULTS, len(results))
    size = 0
    for index in range(start, end):
        result = results[index]
        size += text_size(result)
        if size > MAX_RESULT_TEXT or not _is_plain(result):
            return index
    return end


def _is_plain(result: ItemResult) -> bool:
    error = result.error
    return not result.extensions and not (error and error.extensions) and _is_kept(result.completed_at)


def _is_kept(time: Nanoseconds | None) -> bool:
    """Whether a message holds a time: runtimes elsewhere may tell of other centuries."""
    return time is None or -LATEST <= time <= LATEST
