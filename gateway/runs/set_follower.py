"""Following a set of runs, for one client: from its own position until that is in the ring of the set, then there."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple, Self

from msgspec.structs import replace

from gateway.concurrency.notify import Notify
from gateway.core.errors import GatewayError, NotFound
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import ResultOrder
from gateway.core.position import STARTS, Position
from gateway.core.run_sets import SetChange, SetParams, SetPart
from gateway.core.runtime import Runtime, Snapshot
from gateway.runs.set_topic import SetTopic
from gateway.runs.set_update import ChangeUpdate, SetCaughtUp, SetHeartbeat, set_update
from gateway.runs.shared_reads import SharedReads
from gateway.telemetry.gateway_metrics import FOLLOWERS, UPSTREAM_WATCHES

_START: Final = STARTS[ResultOrder.BY_INDEX]

_followers, _watches = FOLLOWERS.labels("set"), UPSTREAM_WATCHES.labels()


class SetReading:
    """Reads a set from a position, a part at a time: the next one when the last one has been taken."""

    def __init__(self, runtime: Runtime, params: SetParams, position: bytes, wake: Callable[[], None]) -> None:
        self.part: SetPart | None = None
        self.failure: GatewayError | None = None
        self._wake = wake
        self._taken = Notify()
        self.task = asyncio.create_task(self._read(runtime, params, position))

    def take(self) -> None:
        """Read the next part."""
        self.part = None
        self._taken.set()

    async def _read(self, runtime: Runtime, params: SetParams, position: bytes) -> None:
        _watches.value += 1
        try:
            only_new = params.only_new and not position
            async with aclosing(runtime.watch_set(params.filter, position, only_new=only_new)) as parts:
                async for part in parts:
                    self.part = part
                    self._wake()
                    await self._taken.wait()
        except Exception as failure:
            self.failure = error_to_tell(failure)
            self._wake()
        finally:
            _watches.value -= 1


class FollowerParts(NamedTuple):
    """What followers of sets share. `leave` is called when one closes; `own` takes over the tasks that one makes."""

    runtime: Runtime
    reads: SharedReads
    leave: Callable[["SetFollower"], None]
    own: Callable[["asyncio.Task[None]"], None]


class SetFollower:
    """Follows one set for one client. `close` it; `on_change` is called, not within calls, when `poll` may have more.

    It begins with a reading of its own, and goes on in the ring of the topic when its position is there. One that is
    not `counted` is a worker, whose clients count there.
    """

    def __init__(
        self,
        parts: FollowerParts,
        topic: SetTopic,
        params: SetParams,
        on_change: Callable[[], None] | None,
        *,
        counted: bool = True,
    ) -> None:
        self.is_woken = False
        self.topic = topic
        self._shared = parts
        self._params = params
        self._on_change = on_change
        self._waiter: asyncio.Future[None] | None = None
        self._position = params.resume_token
        self._index = 0
        self._caught_up = False
        self._ended = False
        self._changes: deque[SetChange] = deque()
        self._restarted = False
        self._ended_run: ChangeUpdate | None = None
        self._results: Position | None = None
        self._last_results: tuple[ChangeUpdate, Position] | None = None
        self._reading: SetReading | None = None
        self._closed = False
        self._counted = counted
        _followers.value += counted
        self._read_on()

    def close(self) -> None:
        """Follow no more."""
        self._on_change = None
        if not self._closed:
            self._closed = True
            _followers.value -= self._counted
        self._stop_reading()
        self._shared.leave(self)

    def wake(self) -> None:
        """There may be something new."""
        self.is_woken = False
        if self._on_change is not None:
            self._on_change()
        elif (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end(self) -> None:
        """Let `next` return None soon, whatever may follow."""
        self._ended = True
        self.wake()

    async def next(self) -> ChangeUpdate | SetCaughtUp | SetHeartbeat | None:
        """Wait for the next update, or until a heartbeat is due; None after `end`."""
        while not self._ended and (update := await self.poll()) is None:
            try:
                async with asyncio.timeout(self._params.heartbeat_interval):
                    await self.woken()
            except TimeoutError:
                return SetHeartbeat(self._position)
        return None if self._ended else update

    def rewind(self, position: Position) -> None:
        """Go back to a position that the last update has passed in the results of a run: they are read again."""
        last = self._last_results
        if last is not None and position != last[1]:
            self._ended_run, self._results = last[0], position

    def woken(self) -> "asyncio.Future[None]":
        """Wait for `wake`."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    async def poll(self) -> ChangeUpdate | SetCaughtUp | None:
        """The next update, if there is one now. Raises the error that ends the set."""
        if self.topic.failure is not None:
            raise self.topic.failure.with_traceback(None)
        if self._ended_run is not None:
            return await self._read_results(self._ended_run)
        update = self._poll_reading() if self._reading is not None else self._poll_ring()
        if isinstance(update, ChangeUpdate):
            self._position, self._last_results = update.token, None
            if self._params.include_results and update.status.status.terminal and not update.deleted:
                self._ended_run, self._results = update, _START
                return await self._read_results(update)
        return update

    def _poll_ring(self) -> ChangeUpdate | SetCaughtUp | None:
        topic = self.topic
        if self._index < topic.first:
            if (index := topic.index_after(self._position)) is None:
                self._read_on()
                return None
            self._index = index
        update, self._index = topic.next(self._index, counted=self._counted)
        return update

    def _poll_reading(self) -> ChangeUpdate | SetCaughtUp | None:
        reading = self._reading
        assert reading is not None
        while True:
            if self._changes:
                update = set_update(self._changes.popleft(), restarted=self._restarted)
                self._restarted = False
                return update
            if (part := reading.part) is None:
                if reading.failure is not None:
                    raise reading.failure.with_traceback(None)
                return None
            if part.changes and self._position != part.changes[-1].position:
                self._restarted = self._restarted or part.restarted
                self._changes.extend(part.changes)
                continue
            return self._end_of_part(reading, part)

    def _end_of_part(self, reading: SetReading, part: SetPart) -> ChangeUpdate | SetCaughtUp | None:
        """All changes of a part have been sent."""
        self._position = part.position
        told = None
        if part.caught_up and not self._caught_up:
            self._caught_up = True
            told = SetCaughtUp(part.position, self._restarted or (part.restarted and not part.changes))
            self._restarted = False
        index = self.topic.index_after(self._position) if self._caught_up else None
        if index is None:
            reading.take()
        else:
            self._stop_reading()
            self._index = index
        if told is None:
            self.wake_soon()
        return told

    def wake_soon(self) -> None:
        """Poll again: there may be more."""
        asyncio.get_running_loop().call_soon(self.wake)

    def _read_on(self) -> None:
        self._reading = SetReading(self._shared.runtime, self._params, self._position, self.wake)
        self._shared.own(self._reading.task)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.task.cancel()
            self._reading = None
        self._changes.clear()

    async def _read_results(self, update: ChangeUpdate) -> ChangeUpdate:
        """The update with the next results of its run."""
        status, position = update.status, self._results or _START
        items = status.items
        completions = items.success + items.failed
        prefix = items.total if completions == items.total else 0
        try:
            snapshot = Snapshot(status, update.revision, completions, prefix)
            read = await self._shared.reads.after(snapshot, position, last=True)
        except NotFound:
            self._ended_run = None  # The run has been deleted, which will be told.
            return update
        self._results = read.position
        if not read.more:
            self._ended_run = None
        self._last_results = update, read.position
        first = position == _START
        key = (ChangeUpdate, update.token, update.event, update.restarted and first)
        shared: ChangeUpdate | None = read.made.get(key)
        if shared is None:
            shared = read.made[key] = replace(
                update,
                status=read.status,
                position=read.position,
                reading=read.reading,
                more=read.more,
                restarted=update.restarted and first,
                made={},
            )
        return shared
