"""A set of runs that is followed: its latest changes, kept once for all of its followers.

The changes stand in a ring, each run once, at its last change. A follower is an index in the ring: one that reads
slowly skips the states in between, holds up no other one and costs nothing. One that the ring has left behind reads the
set from its own position until it is in the ring again.
"""

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, Protocol

from gateway.concurrency.memory_account import MemoryPart
from gateway.concurrency.paced_calls import PacedCalls
from gateway.concurrency.tasks import create_shared_task
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.internal_errors import error_to_tell
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetChange, SetEvent
from gateway.core.runtime import Runtime
from gateway.runs.set_update import ChangeUpdate, set_update
from gateway.telemetry.gateway_metrics import STATES_CONFLATED, UPSTREAM_WATCHES
from gateway.telemetry.update_ages import UPDATE_AGES

KEPT_CHANGES: Final = 16_384
"""How many changes a ring has at most."""

CHANGE_BYTES: Final = 3 << 10
"""What a change takes besides its labels: the status, and the messages that are made of it."""

_watches, _conflated = UPSTREAM_WATCHES.labels(), STATES_CONFLATED.labels()


class Woken(Protocol):
    """A follower that waits."""

    is_woken: bool

    def wake(self) -> None:
        """There is something new."""


class RingEntry:
    """A change in the ring, which came at a time. `update` is None when a later one has replaced it.

    `added` is the index at which the run came into the set, if that was seen: for who has not read so far, it is new.
    """

    __slots__ = ("added", "at", "index", "size", "token", "update")

    def __init__(self, update: ChangeUpdate, index: int, added: int, size: int) -> None:
        self.update: ChangeUpdate | None = update
        self.token = update.token
        self.index = index
        self.added = added
        self.size = size
        self.at = time.monotonic()


class SetTopic:
    """Follows one set in the runtime. What the ring holds is counted in `memory`, which all topics share.

    `ended` is called when it has failed.
    """

    def __init__(
        self, runtime: Runtime, wanted: RunFilter, memory: MemoryPart, wakes: PacedCalls, ended: Callable[[], None]
    ) -> None:
        self.wanted = wanted
        self.failure: GatewayError | None = None
        self.begin: bytes | None = None
        """The position before the first change in the ring; None until it is known."""
        self.first = 0
        """The index of the first change in the ring."""
        self.followers: dict[Woken, None] = {}
        self._runtime = runtime
        self._memory = memory
        self._wakes = wakes
        self._ended = ended
        self._ring: deque[RingEntry] = deque()
        self._latest: dict[str, RingEntry] = {}
        self.task = create_shared_task(self._follow())

    @property
    def end(self) -> int:
        """The index of the next change that will come."""
        return self.first + len(self._ring)

    def index_after(self, position: bytes) -> int | None:
        """Where a follower at a position goes on in the ring; None if it has to read for itself before."""
        if self.begin is None or position < self.begin:
            return None
        return self.first + bisect_right(self._ring, position, key=_token)

    def next(self, index: int, *, counted: bool = True) -> tuple[ChangeUpdate | None, int]:
        """The first change at an index or after it, and the index behind; None if there is none."""
        ring, place = self._ring, index - self.first
        while place < len(ring):
            entry = ring[place]
            place += 1
            if (update := entry.update) is None:
                _conflated.value += counted
                continue
            if entry.added >= index and update.event is SetEvent.CHANGED:
                update = _as_added(update)
            if counted:
                UPDATE_AGES.sent(entry.at)
            return update, self.first + place
        return None, self.first + place

    def fail(self, failure: GatewayError) -> None:
        """End it for all followers."""
        self.failure = failure
        self._wake()

    def close(self) -> None:
        """Follow no more, and hold nothing."""
        self.task.cancel()
        self._memory.give_back(sum(entry.size for entry in self._ring))
        self._ring.clear()
        self._latest.clear()
        self.begin = None

    async def _follow(self) -> None:
        _watches.value += 1
        try:
            async with aclosing(self._runtime.watch_set(self.wanted, b"", only_new=True)) as parts:
                async for part in parts:
                    if self.begin is None:
                        self.begin = part.position
                    elif part.restarted:
                        raise Unavailable("the state of the runtime has been lost", retry_after=1.0)
                    for change in part.changes:
                        self._add(change)
                    self._wake()
        except Exception as failure:
            self.fail(error_to_tell(failure))
            self._ended()
        finally:
            _watches.value -= 1

    def _add(self, change: SetChange) -> None:
        index, added = self.end, -1
        earlier = self._latest.get(change.run_id)
        if earlier is not None and earlier.update is not None:
            if earlier.update.event is not SetEvent.LEFT:
                added = earlier.added
            earlier.update = None
        if change.event is SetEvent.ADDED:
            added = index
        entry = RingEntry(set_update(change), index, added, _size(change))
        self._latest[change.run_id] = entry
        self._ring.append(entry)
        self._memory.add(entry.size)
        while len(self._ring) > KEPT_CHANGES or (self._memory.held > self._memory.limit and len(self._ring) > 1):
            self._drop()

    def _drop(self) -> None:
        """Drop the first change. Who has not read it reads for itself, unless it has been replaced."""
        entry = self._ring.popleft()
        self._memory.give_back(entry.size)
        self.first += 1
        if entry.update is not None:
            self.begin = entry.token
            if self._latest.get(entry.update.run_id) is entry:
                del self._latest[entry.update.run_id]

    def _wake(self) -> None:
        calls = []
        for follower in self.followers:
            if not follower.is_woken:
                follower.is_woken = True
                calls.append(follower.wake)
        self._wakes.all(calls)


def _token(entry: RingEntry) -> bytes:
    return entry.token


def _size(change: SetChange) -> int:
    labels = change.status.labels if change.status is not None else {}
    return CHANGE_BYTES + (2 * sum(len(name) + len(value) for name, value in labels.items()) if labels else 0)


def _as_added(update: ChangeUpdate) -> ChangeUpdate:
    """The same change for who does not know the run; what is made of it is shared."""
    shared = update.made.get(_as_added)
    if shared is None:
        shared = update.made[_as_added] = ChangeUpdate(
            update.status, update.revision, update.position, event=SetEvent.ADDED, token=update.token
        )
    added: ChangeUpdate = shared
    return added
