"""The hub: one upstream watch of a run for any number of followers.

A follower has one slot, the latest state: a follower that reads slowly skips the states in between, holds up no other
one and costs nothing.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from gateway.concurrency.paced_calls import PacedCalls
from gateway.concurrency.tasks import create_shared_task, retrieve_exception
from gateway.core.errors import GatewayError, shutting_down
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import ResultOrder
from gateway.core.position import STARTS
from gateway.core.runtime import Runtime, Snapshot
from gateway.runs.update import Update, plain_update
from gateway.telemetry.gateway_metrics import FOLLOWED_RUNS, UPSTREAM_WATCHES
from gateway.telemetry.run_log import of_run

GRACE_SECONDS: Final = 2.0
"""How long a run without followers is still watched: a client that comes back finds its state at hand."""

_TIMER_SECONDS: Final = 0.001
"""Timers of event loops may be this much early."""

_topics, _watches = FOLLOWED_RUNS.labels(), UPSTREAM_WATCHES.labels()


class Hub:
    """Watches each run once for all of its followers.

    A run without followers is let go after `grace` seconds; with 0, at once. `wakes` are those of another hub, if they
    are to be paced together.
    """

    def __init__(self, runtime: Runtime, *, grace: float = GRACE_SECONDS, wakes: PacedCalls | None = None) -> None:
        self.grace = grace
        self.wakes = wakes or PacedCalls()
        """Wakes followers. Those of all runs together: many runs may change, and many heartbeats be due, at once."""
        self._runtime = runtime
        self._topics: dict[str, _Topic] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many runs are watched."""
        return len(self._topics)

    def watch(self, run_id: str, on_change: Callable[[], None] | None = None) -> "Watch":
        """Follow a run, until the watch is closed; it closes itself as a context.

        `on_change` is called, but never within this call, when `latest` has something new, and at the time that was
        given to `wake_at`. Raises Unavailable if the hub has been closed.
        """
        if self._closed:
            raise shutting_down()
        topic = self._topics.get(run_id)
        if topic is None:
            topic = self._topics[run_id] = _Topic(self, self._runtime, run_id)
            _topics.value += 1
            self._tasks.add(topic.task)
            topic.task.add_done_callback(self._tasks.discard)
            topic.task.add_done_callback(retrieve_exception)
        return Watch(topic, on_change)

    def remove(self, topic: "_Topic") -> None:
        """Let the next follower of this run begin anew."""
        if self._topics.get(topic.run_id) is topic:
            del self._topics[topic.run_id]
            _topics.value -= 1

    async def close(self) -> None:
        """Stop watching: all followers get Unavailable."""
        self._closed = True
        for topic in list(self._topics.values()):
            topic.fail(shutting_down())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _topics.value -= len(self._topics)
        self._topics.clear()


class _Topic:
    """A run that is watched."""

    def __init__(self, hub: Hub, runtime: Runtime, run_id: str) -> None:
        self.run_id = run_id
        self.snapshot: Snapshot | None = None
        self.number = 0
        """How many states have come."""
        self.changed_at = 0.0
        """When the latest one came to be, or came here, by `time.monotonic()`."""
        self.failure: GatewayError | None = None
        self.plain: dict[tuple[ResultOrder, bool], Update] = {}
        self.wakes = hub.wakes
        self._hub = hub
        self._runtime = runtime
        self._watches: dict[Watch, None] = {}
        self._leaving: asyncio.TimerHandle | None = None
        self._waking = False
        self._again = False
        self.task = create_shared_task(self._follow())

    def join(self, watch: "Watch") -> None:
        self._watches[watch] = None
        self._end_grace()

    def leave(self, watch: "Watch") -> None:
        """The last one to leave closes the topic: at once if no state can follow, else after a time of grace."""
        if watch not in self._watches:
            return
        del self._watches[watch]
        if self._watches:
            return
        if self.task.done() or not self._hub.grace:
            self._close()
        else:
            self._leaving = asyncio.get_running_loop().call_later(self._hub.grace, self._close)

    def fail(self, failure: GatewayError) -> None:
        """End the watches of all followers."""
        self.failure = failure
        self._end_grace()
        self._wake()

    def _end_grace(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _close(self) -> None:
        self._hub.remove(self)
        self.task.cancel()

    async def _follow(self) -> None:
        _watches.value += 1
        try:
            async with aclosing(self._runtime.watch(self.run_id)) as changes:
                async for snapshot in changes:
                    self.snapshot = snapshot
                    self.number += 1
                    self.changed_at = snapshot.changed_at or time.monotonic()
                    self.plain = {}
                    self._wake()
            if not self._watches:
                # No state can follow: the grace of the last one to leave is for nothing, and the run may be deleted.
                self._end_grace()
                self._hub.remove(self)
        except Exception as failure:
            self._hub.remove(self)
            self.fail(error_to_tell(failure, partial(of_run, self.run_id)))
        finally:
            _watches.value -= 1

    def _wake(self) -> None:
        """Wake all followers. A round goes to its end before the next one begins, so that each has its turn."""
        if self._waking:
            self._again = True
            return
        self._waking = True
        wakes = [watch.wake for watch in self._watches]
        wakes.append(self._woken)
        self.wakes.all(wakes)

    def _woken(self) -> None:
        self._waking = False
        if self._again:
            self._again = False
            asyncio.get_running_loop().call_soon(self._wake)


class Watch:
    """One follower's slot."""

    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_due",
        "_number",
        "_on_change",
        "_seen",
        "_topic",
        "_waiter",
        "changed_at",
        "skipped",
    )

    def __init__(self, topic: _Topic, on_change: Callable[[], None] | None) -> None:
        self._topic = topic
        self._on_change = on_change
        self._seen: Snapshot | None = None
        self._number = topic.number
        self.skipped = 0
        """How many states came before the latest one that `latest` has returned, and after the one before."""
        self.changed_at = 0.0
        """When that one came to be, or came here, by `time.monotonic()`."""
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
        """Wake the follower: the run has changed, or the time of `wake_at` has come."""
        if self._on_change is not None:
            self._on_change()
        elif (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def wake_at(self, when: float) -> None:
        """Also wake at this value of `time.monotonic()`; it replaces that of an earlier call."""
        self._due = when
        # An earlier timer stays, and is set anew when it rings: streams set theirs later and later, all the time.
        if self._alarm is None or when < self._alarm_at:
            self._set_alarm(when)

    def latest(self) -> Snapshot | None:
        """The latest state; None if it has been returned before. Raises the error that has ended the watch."""
        topic = self._topic
        if topic.failure is not None:
            # Raised for many, one after the other: their frames must not pile up in it.
            raise topic.failure.with_traceback(None)
        if topic.snapshot is self._seen:
            return None
        self._seen = topic.snapshot
        self.skipped = topic.number - self._number - 1
        self._number = topic.number
        self.changed_at = topic.changed_at
        return self._seen

    async def changed(self, until: float | None = None) -> Snapshot | None:
        """Wait for a state that has not been returned yet; None at `until`, a value of `time.monotonic()`."""
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
        """The update without results for a state; shared by all followers at the beginning of the results."""
        if snapshot is not self._topic.snapshot:
            return plain_update(snapshot, STARTS[order], heartbeat=heartbeat)
        update = self._topic.plain.get((order, heartbeat))
        if update is None:
            update = plain_update(snapshot, STARTS[order], heartbeat=heartbeat)
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
            self._topic.wakes(self.wake)
