"""Following one run: the current state, then each change, until the run has ended or time is up."""

import time
from abc import ABC, abstractmethod
from typing import Final, Self

from msgspec.structs import replace

from gateway.core.model import GetParams
from gateway.core.position import STARTS, Position, ResumePoint
from gateway.core.runtime import Runtime, Snapshot
from gateway.runs.hub import Watch
from gateway.runs.shared_reads import SharedReads
from gateway.runs.update import Update, plain_update
from gateway.telemetry.gateway_metrics import FOLLOWERS, STATES_CONFLATED
from gateway.telemetry.metrics import Cell
from gateway.telemetry.update_ages import UPDATE_AGES

CATCH_UP_SECONDS: Final = 1.0
"""How long a follower waits until the watch shows the state that its resume token names; then it asks the runtime.
Mostly the state is on its way: followers that come from another process, all at once, cost no calls."""

_conflated = STATES_CONFLATED.labels()


class Follower(ABC):
    """Follows one run; closes itself as a context. `ended` says that no update can come any more.

    Values that are read for each update stand in the follower itself: with thousands of followers, each further object
    to visit is one that is not in the processor's cache.
    """

    __slots__ = (
        "_counted",
        "_heartbeat_at",
        "_interval",
        "_is_last",
        "_opening",
        "_snapshot",
        "_until",
        "_watch",
        "ended",
    )

    _number: Cell
    """How many followers of its kind there are."""

    def __init__(
        self,
        runtime: Runtime,
        watch: Watch | None,
        run_id: str,
        params: GetParams,
        until: float | None,
        *,
        counted: bool = True,
    ) -> None:
        """Without a watch, the current state is the only one. `until`: when waiting ends, by `time.monotonic()`.

        One that is not `counted` is a worker, whose clients count there.
        """
        self.ended = False
        self._opening = _Opening(runtime, run_id, params, until)
        self._snapshot: Snapshot | None = None
        self._is_last = watch is None
        """Whether no other state is sent after the current one."""
        self._until = until
        self._interval = params.heartbeat_interval
        self._heartbeat_at = 0.0
        self._watch = watch
        self._counted = counted and watch is not None
        if self._counted:
            self._number.value += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Follow no more."""
        self.ended = True
        if self._watch is not None:
            self._watch.close()
            if self._counted:
                self._counted = False
                self._number.value -= 1

    def end(self) -> None:
        """Let `next` return None soon, whatever may follow."""
        self.ended = True
        if self._watch is not None:
            self._watch.wake()

    @abstractmethod
    def rewind(self, position: Position) -> None:
        """Go back to a position that the last update has passed: the results after it are read again.

        Thereby a caller need not hold an update of which it has passed on only a part.
        """

    async def next(self) -> Update | None:
        """Wait for the next update; None at the end."""
        while True:
            update = await self.poll()
            if update is not None or self.ended or self._watch is None:
                return update
            await self._watch.woken()

    @abstractmethod
    async def poll(self) -> Update | None:
        """The next update, if there is one now.

        After None, poll again when the watch has called `on_change`, unless `ended`. It also does so when a heartbeat
        is due and when time is up.
        """

    @property
    def is_idle(self) -> bool:
        """Whether nothing follows the last update before the watch calls `on_change`."""
        return not self._is_last and self._until is None and self._interval is None

    @property
    def is_complete(self) -> bool:
        """Whether no update can follow the last one."""
        return self._is_last and self._snapshot is not None

    @abstractmethod
    async def _first(self, snapshot: Snapshot, position: Position) -> Update:
        """The first update, for a follower that begins at a position."""

    @abstractmethod
    def _heartbeat(self, snapshot: Snapshot) -> Update:
        """An update that says nothing new."""

    async def _begin(self) -> Update | None:
        begun = await self._opening.begin(self._watch)
        if begun is None:
            return None
        snapshot, position = begun
        self._snapshot = snapshot
        self._is_last = self._is_last or snapshot.terminal
        update = await self._first(snapshot, position or STARTS[self._opening.order])
        return replace(update, restarted=True, made={}) if position is None else update

    def _advance(self) -> Snapshot | None:
        """Go on to the next state to send; None if there is none now."""
        if self._is_last or self._watch is None:
            self.ended = True
            return None
        following = self._watch.latest()
        if following is not None and following.revision > self._snapshot.revision:  # type: ignore[union-attr]
            self._snapshot = following
            if self._watch.skipped > 0 and self._counted:
                _conflated.value += self._watch.skipped
            self._is_last = following.terminal or self._time_is_up()
            return following
        if self._until is None or not self._time_is_up():
            return None
        # The state that was sent last may be sent again: now with all results that exist.
        self._is_last = True
        return self._snapshot

    def _time_is_up(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def _set_heartbeat(self) -> None:
        """Something is sent: the next heartbeat is due an interval from now."""
        if self._interval is not None:
            self._heartbeat_at = time.monotonic() + self._interval

    def _idle(self) -> Update | None:
        """A heartbeat if one is due; else None, and the watch wakes when one is due or time is up."""
        if self._watch is None or self.ended:
            return None
        wake_at = self._until
        if self._interval is not None:
            if self._snapshot is not None and time.monotonic() >= self._heartbeat_at:
                self._set_heartbeat()
                return self._heartbeat(self._snapshot)
            wake_at = self._heartbeat_at if wake_at is None else min(wake_at, self._heartbeat_at)
        if wake_at is not None:
            self._watch.wake_at(wake_at)
        return None


class StatusFollower(Follower):
    """Follows the states of a run, without results."""

    __slots__ = ("_order", "_resumed")

    _number = FOLLOWERS.labels("status")

    async def next(self) -> Update | None:
        while True:
            # After the first, an update needs no waiting. Awaiting `poll` for each of thousands would take longer.
            update = await self.poll() if self._snapshot is None else self._following()
            if update is not None or self.ended or self._watch is None:
                return update
            await self._watch.woken()
            if self.ended:
                return None

    async def poll(self) -> Update | None:
        if self.ended:
            return None
        return await self._begin() if self._snapshot is None else self._following()

    def _following(self) -> Update | None:
        before = self._snapshot
        snapshot = self._advance()
        if snapshot is not None:
            if snapshot is not before and self._counted:
                UPDATE_AGES.sent(self._watch.changed_at)  # type: ignore[union-attr] # else nothing follows
            return self._plain(snapshot)
        return None if self._until is None and self._interval is None else self._idle()

    def rewind(self, position: Position) -> None:
        """Without results, there is nothing to go back to."""

    async def _first(self, snapshot: Snapshot, position: Position) -> Update:
        self._order = position.order
        # The updates of all followers that begin anew are shared.
        self._resumed = position if position.started else None
        return self._plain(snapshot)

    def _heartbeat(self, snapshot: Snapshot) -> Update:
        return self._plain(snapshot, heartbeat=True)

    def _plain(self, snapshot: Snapshot, *, heartbeat: bool = False) -> Update:
        self._set_heartbeat()
        if self._watch is None or self._resumed is not None:
            return plain_update(snapshot, self._resumed or STARTS[self._order], heartbeat=heartbeat)
        return self._watch.plain(snapshot, self._order, heartbeat=heartbeat)


class ResultsFollower(Follower):
    """Follows a run with its results: each is sent once."""

    __slots__ = ("_more", "_position", "_reads")

    _number = FOLLOWERS.labels("results")

    def __init__(
        self,
        runtime: Runtime,
        watch: Watch | None,
        run_id: str,
        params: GetParams,
        until: float | None,
        *,
        reads: SharedReads,
        counted: bool = True,
    ) -> None:
        super().__init__(runtime, watch, run_id, params, until, counted=counted)
        self._reads = reads
        self._position = STARTS[params.result_order]
        self._more = False
        """Whether the current state may have results that were not sent."""

    def rewind(self, position: Position) -> None:
        self._position, self._more = position, True

    @property
    def is_idle(self) -> bool:
        return not self._more and super().is_idle

    @property
    def is_complete(self) -> bool:
        return not self._more and super().is_complete

    async def poll(self) -> Update | None:
        if self.ended:
            return None
        if self._snapshot is None:
            return await self._begin()
        if self._more:
            update = await self._read(self._snapshot)
            # The end of a sweep shows only when no result is left to send.
            if update.status.results:
                return update
        before, snapshot = self._snapshot, self._advance()
        if snapshot is None:
            return self._idle()
        changed_at = None if snapshot is before or self._watch is None else self._watch.changed_at
        update = await self._read(snapshot)
        if changed_at is not None and self._counted:
            UPDATE_AGES.sent(changed_at)
        return update

    async def _first(self, snapshot: Snapshot, position: Position) -> Update:
        self._position = position
        return await self._read(snapshot)

    def _heartbeat(self, snapshot: Snapshot) -> Update:
        return plain_update(snapshot, self._position, heartbeat=True)

    async def _read(self, snapshot: Snapshot) -> Update:
        update = await self._reads.after(snapshot, self._position, last=self._is_last)
        self._position = update.position
        self._more = update.more
        self._set_heartbeat()
        return update


class _Opening:
    """What the first update is made of: the run, and the point that the client had reached before."""

    __slots__ = ("_latest", "_point", "_run_id", "_runtime", "_until", "_wait_until", "order")

    def __init__(self, runtime: Runtime, run_id: str, params: GetParams, until: float | None) -> None:
        self.order = params.result_order
        self._runtime = runtime
        self._run_id = run_id
        self._until = until
        self._point: ResumePoint | None = ResumePoint(STARTS[self.order])
        """None if the resume token is not understood."""
        if params.resume_token:
            self._point = ResumePoint.from_token(params.resume_token, run_id, self.order)
        self._latest: Snapshot | None = None
        self._wait_until: float | None = None

    async def begin(self, watch: Watch | None) -> tuple[Snapshot, Position | None] | None:
        """The state to begin with, and the position in it; None if the watch has no such state yet, and will wake.

        The position is None if the resume token is not understood, or names what the run has not done. Without a watch,
        the state is the current one.
        """
        if watch is None:
            snapshot: Snapshot | None = await self._runtime.get(self._run_id)
        else:
            snapshot = self._latest = watch.latest() or self._latest
        if snapshot is None:
            return None
        point = self._point
        if point is not None and snapshot.revision < point.revision:
            # The token comes from another process, which has seen a later state.
            if watch is not None and not snapshot.terminal and self._waits(watch):
                return None
            later = await self._runtime.get_since(self._run_id, point.revision)
            if later is None:
                return snapshot, None
            snapshot = later
        return snapshot, point.position if point is not None and point.position.fits(snapshot) else None

    def _waits(self, watch: Watch) -> bool:
        """Whether it is too early to ask the runtime; then the watch wakes when it is time."""
        now = time.monotonic()
        if self._wait_until is None:
            latest = now + CATCH_UP_SECONDS
            self._wait_until = latest if self._until is None else min(latest, self._until)
        if now >= self._wait_until:
            return False
        watch.wake_at(self._wait_until)
        return True
