"""The hub: one upstream watch of a run, however many follow it.

A follower has one slot, the latest state: one that reads slowly skips states in between, holds nobody up and costs
nothing. What has to be read for an update (a page of results), and what is built from it (a message), is shared by all
followers that are at the same point.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Final, NamedTuple

from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import shutting_down
from gateway.core.model import ItemResult, ResultOrder, RunStatus
from gateway.core.position import Position
from gateway.core.runtime import Page, Runtime, Snapshot, text_size

GRACE_SECONDS: Final = 2.0
"""How long a run that nobody follows any more is still watched: a client that comes back finds its state at hand."""

WAKE_BATCH: Final = 32
"""How many followers are woken in one turn of the event loop: sending takes each some 20 us, and everybody else is to
have a turn in between."""

SHARED_UPDATES: Final = 64
"""How many updates with results are kept to be shared."""

SHARED_TEXT: Final = 8 << 20
"""How much result text they may hold together, in characters; the latest is kept whatever its size."""

_TIMER_SECONDS: Final = 0.001
"""Timers of event loops may be this much early."""


class Reading(NamedTuple):
    """What the results of an update were read for: a page that follows a position, in a state."""

    position: Position
    page: Page
    snapshot: Snapshot


@dataclass(slots=True, frozen=True)
class Update:
    """What a follower is sent: a state, and the results that follow its position. Shared; never changed.

    `completions` and `prefix` are those of the snapshot. `position` is the follower's after it. `more` says that
    the same state may have more results. `built` is for whoever sends it: what was made of it once serves all.
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
    built: dict[Hashable, Any] = field(default_factory=dict)

    def position_after(self, count: int) -> Position:
        """The follower's position when it has been sent the first `count` of the results only."""
        results = self.status.results or []
        if self.reading is None or count >= len(results):
            return self.position
        position, page, snapshot = self.reading
        return position.after(page, results[:count], snapshot) if count else position


class Hub:
    """Watches each run once for all who follow it.

    A run that nobody follows any more is let go after `grace` seconds; with 0, at once.
    """

    def __init__(self, runtime: Runtime, *, grace: float = GRACE_SECONDS) -> None:
        self.grace = grace
        self._runtime = runtime
        self._topics: dict[str, _Topic] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._readings: dict[_Point, _SharedReading] = {}
        self._shared: OrderedDict[_Point, tuple[Update, int]] = OrderedDict()
        self._shared_text = 0
        self._closed = False

    def __len__(self) -> int:
        """How many runs are watched."""
        return len(self._topics)

    def watch(self, run_id: str, on_change: Callable[[], None] | None = None) -> "Watch":
        """Follow a run, until the watch is closed; it closes itself as a context.

        `on_change` is called, never from within this call, when `latest` has something new, and when the time has come
        that `wake_at` was told. Unavailable when the hub has been closed.
        """
        if self._closed:
            raise shutting_down()
        topic = self._topics.get(run_id)
        if topic is None:
            topic = self._topics[run_id] = _Topic(self, self._runtime, run_id)
            self._own(topic.task)
        return Watch(topic, on_change)

    async def results_after(self, snapshot: Snapshot, position: Position, *, last: bool) -> Update:
        """The next update with results; read once for all who ask for the same."""
        point = _Point(snapshot.status.run_id, snapshot.revision, position, last)
        shared = self._shared.get(point)
        if shared is not None:
            return shared[0]
        if self._closed:
            raise shutting_down()
        reading = self._readings.get(point)
        if reading is None:
            if position.missing(snapshot, last=last) is None:
                return self._update(point, snapshot, [], position)
            reading = self._readings[point] = _SharedReading(self._read(point, snapshot))
            self._own(reading.task)
        return await reading.update()

    def remove(self, topic: "_Topic") -> None:
        """Let the next one who follows this run begin anew."""
        if self._topics.get(topic.run_id) is topic:
            del self._topics[topic.run_id]

    async def close(self) -> None:
        """Stop watching and reading: whoever still follows a run gets Unavailable."""
        self._closed = True
        for topic in list(self._topics.values()):
            topic.fail(shutting_down())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._topics.clear()
        self._readings.clear()
        self._shared.clear()

    def _own(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, point: "_Point", snapshot: Snapshot) -> Update:
        position, last = point.position, point.last
        results: list[ItemResult] = []
        reading = None
        try:
            while not results and (page := position.missing(snapshot, last=last)) is not None:
                results = await self._runtime.results(point.run_id, page)
                reading = Reading(position, page, snapshot)
                position = position.after(page, results, snapshot)
        finally:
            del self._readings[point]
        return self._update(point, snapshot, results, position, reading)

    def _update(
        self,
        point: "_Point",
        snapshot: Snapshot,
        results: list[ItemResult],
        position: Position,
        reading: Reading | None = None,
    ) -> Update:
        status = snapshot.status.model_copy(update={"results": results})
        more = position.missing(snapshot, last=point.last) is not None
        update = Update(
            status, snapshot.revision, position, snapshot.completions, snapshot.prefix, more=more, reading=reading
        )
        self._share(point, update)
        return update

    def _share(self, point: "_Point", update: Update) -> None:
        """Keep an update for those who come to the same point, in place of those that were read first."""
        size = sum(map(text_size, update.status.results or ()))
        self._shared[point] = update, size
        self._shared_text += size
        while len(self._shared) > SHARED_UPDATES or (self._shared_text > SHARED_TEXT and len(self._shared) > 1):
            _, (_, size) = self._shared.popitem(last=False)
            self._shared_text -= size


class _Point(NamedTuple):
    """What makes two followers get the same results."""

    run_id: str
    revision: int
    position: Position
    last: bool


class _SharedReading:
    """Results that are being read, for all who wait for them. It goes on when they leave: it is short."""

    def __init__(self, reading: Coroutine[Any, Any, Update]) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self.task = asyncio.create_task(reading)
        self.task.add_done_callback(self._done)

    async def update(self) -> Update:
        if not self.task.done():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.task.cancelled():
            raise shutting_down()
        return self.task.result()

    def _done(self, task: asyncio.Task[Update]) -> None:
        retrieve_exception(task)
        _wake_in_turn(partial(_resolve, waiter) for waiter in self._waiters)


class _Topic:
    """A run that is watched."""

    def __init__(self, hub: Hub, runtime: Runtime, run_id: str) -> None:
        self.run_id = run_id
        self.snapshot: Snapshot | None = None
        self.failure: Exception | None = None
        self.plain: dict[tuple[ResultOrder, bool], Update] = {}
        self.traceback: TracebackType | None = None
        self._hub = hub
        self._runtime = runtime
        self._watches: dict[Watch, None] = {}
        self._leaving: asyncio.TimerHandle | None = None
        self._waking = False
        self._again = False
        self.task = asyncio.create_task(self._follow())

    def join(self, watch: "Watch") -> None:
        self._watches[watch] = None
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def leave(self, watch: "Watch") -> None:
        """The last one to leave closes the topic: at once if nothing can follow, else after a time of grace."""
        if watch not in self._watches:
            return
        del self._watches[watch]
        if self._watches:
            return
        if self.task.done() or not self._hub.grace:
            self._close()
        else:
            self._leaving = asyncio.get_running_loop().call_later(self._hub.grace, self._close)

    def fail(self, failure: Exception) -> None:
        """End it for all who follow."""
        self.failure, self.traceback = failure, failure.__traceback__
        if self._leaving is not None:
            self._leaving.cancel()
        self._wake()

    def _close(self) -> None:
        self._hub.remove(self)
        self.task.cancel()

    async def _follow(self) -> None:
        try:
            async with aclosing(self._runtime.watch(self.run_id)) as changes:
                async for snapshot in changes:
                    self.snapshot = snapshot
                    self.plain = {}
                    self._wake()
        except Exception as failure:
            self._hub.remove(self)
            self.fail(failure)

    def _wake(self) -> None:
        """Wake all followers. A round goes to its end before the next one begins, so that all have their turn."""
        if self._waking:
            self._again = True
            return
        self._waking = True
        _wake_in_turn((watch.wake for watch in list(self._watches)), self._woken)

    def _woken(self) -> None:
        self._waking = False
        if self._again:
            self._again = False
            asyncio.get_running_loop().call_soon(self._wake)


class Watch:
    """One follower's slot."""

    __slots__ = ("_alarm", "_alarm_at", "_due", "_on_change", "_seen", "_topic", "_waiter")

    def __init__(self, topic: _Topic, on_change: Callable[[], None] | None) -> None:
        self._topic = topic
        self._on_change = on_change
        self._seen: Snapshot | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._due: float | None = None
        topic.join(self)
        if on_change is not None and topic.snapshot is not None:
            asyncio.get_running_loop().call_soon(self.wake)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Follow no more."""
        self._on_change = self._due = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._topic.leave(self)

    def wake(self) -> None:
        """End the waiting; called when the run has changed."""
        if self._on_change is not None:
            self._on_change()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def wake_at(self, when: float) -> None:
        """Also wake at this value of `time.monotonic()`, in place of an earlier such call."""
        self._due = when
        # A timer that would ring before stays, and is set anew then: streams set theirs later and later, all the time.
        if self._alarm is None or when < self._alarm_at:
            self._set_alarm(when)

    def latest(self) -> Snapshot | None:
        """The latest state, if it has not been returned yet. Raises what has ended the watch."""
        topic = self._topic
        if topic.failure is not None:
            # Raised for many, one after the other: their frames are not to pile up in it.
            raise topic.failure.with_traceback(topic.traceback)
        if topic.snapshot is self._seen:
            return None
        self._seen = topic.snapshot
        return self._seen

    async def changed(self, until: float | None = None) -> Snapshot | None:
        """The next state that has not been returned yet; None at `until`, a value of `time.monotonic()`."""
        while (snapshot := self.latest()) is None:
            if until is not None:
                if time.monotonic() >= until:
                    return None
                self.wake_at(until)
            await self.woken()
        return snapshot

    def woken(self) -> "asyncio.Future[None]":
        """Wait for `wake`."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def plain(self, snapshot: Snapshot, order: ResultOrder, *, heartbeat: bool = False) -> Update:
        """The update without results for a state; shared by all who are at the beginning of the results."""
        if snapshot is not self._topic.snapshot:
            return plain_update(snapshot, Position(order), heartbeat=heartbeat)
        update = self._topic.plain.get((order, heartbeat))
        if update is None:
            update = plain_update(snapshot, Position(order), heartbeat=heartbeat)
            self._topic.plain[order, heartbeat] = update
        return update

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        delay = max(_TIMER_SECONDS, when - time.monotonic())
        self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._due is None:
            return
        if self._due - time.monotonic() > _TIMER_SECONDS:
            self._set_alarm(self._due)
        else:
            self._due = None
            self.wake()


def plain_update(snapshot: Snapshot, position: Position, *, heartbeat: bool = False) -> Update:
    """The update without results for a state."""
    return Update(
        snapshot.status, snapshot.revision, position, snapshot.completions, snapshot.prefix, heartbeat=heartbeat
    )


def _wake_in_turn(wakes: Iterator[Callable[[], None]], then: Callable[[], None] | None = None) -> None:
    """Call all of them, a few in each turn of the event loop."""
    batch = list(islice(wakes, WAKE_BATCH))
    for wake in batch:
        wake()
    if len(batch) == WAKE_BATCH:
        asyncio.get_running_loop().call_soon(_wake_in_turn, wakes, then)
    elif then is not None:
        then()


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
