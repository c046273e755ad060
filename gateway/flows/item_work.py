"""What executing items share: time on the event loop, places, and memory for what they make."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

from gateway.concurrency.canceller import Canceller
from gateway.concurrency.fair_places import FairPlaces
from gateway.concurrency.fair_turns import FairTurns
from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.room import Room, RoomHolder
from gateway.flows.item_log import STEP_BYTES, ItemLog, StepNote

DEFAULT_EXECUTING_ITEMS: Final = 1000
"""How many items of all runs together execute at the same time, unless told otherwise."""

DEFAULT_CONCURRENCY: Final = 64
"""How many items of a run execute at the same time if the submit has no `max_concurrency`."""

MAX_VALUE_BYTES: Final = 256 << 20
_VALUES_FRACTION: Final = 8
"""What executing items may hold of values that they have made: so many bytes, and so great a part of the account."""


class SharedWork:
    """What all executing items share. At most `max_items` of them execute at the same time."""

    def __init__(self, max_items: int, account: MemoryAccount) -> None:
        self.turns = FairTurns()
        self.places = FairPlaces(max_items)
        self.room = Room(account.share("item_values"), min(MAX_VALUE_BYTES, account.limit // _VALUES_FRACTION))
        self.canceller = Canceller()
        self.callers: dict[str, ItemWork] = {}
        """The items whose components execute now, by the scopes of their tasks."""
        self.stopping = False
        """Whether all tasks are being cancelled, since the gateway stops."""
        self.waiting = 0
        """How many items wait for runs of their own, or pause: they do not count as executing."""
        self.on_waiting: Callable[[], None] | None = None
        """Called when one more does."""

    def waits_for_runs(self, scope: str) -> None:
        """Note that a component, which executes a task, asks for runs: its item waits for them from now on."""
        work = self.callers.pop(scope, None)
        if work is not None:
            work.begin_waiting()


class FamilyWork:
    """What the runs inside one run, and that run itself, take together: they are one party for fairness."""

    __slots__ = ("line", "places", "room", "runs", "shared")

    def __init__(self, shared: SharedWork) -> None:
        self.runs = 0
        """How many of the runs execute."""
        self.shared = shared
        self.line = shared.turns.line()
        self.places = shared.places.party()
        self.room = shared.room.party()


class ItemWork(RoomHolder):
    """What one item takes. It is made with a place, which its family has taken for it, and ends with `end`.

    `checkpoint` waits for the item's turn on the event loop, unless it `goes_on`. Work between checkpoints is short.
    """

    __slots__ = ("_ended", "_family", "_has_place", "_returning", "_waits", "checkpoint", "goes_on", "log")

    def __init__(self, family: FamilyWork) -> None:
        super().__init__(family.room)
        self._family = family
        self.checkpoint = family.line.checkpoint
        self.goes_on = family.line.goes_on
        self.log: ItemLog | None = None
        """What is noted of the item, if anything is."""
        self._has_place = True
        self._returning = self._ended = False
        self._waits = 0

    @property
    def canceller(self) -> Canceller:
        """What cancels the tasks of the item."""
        return self._family.shared.canceller

    def note(self, step_id: str, component: str) -> StepNote | None:
        """Note that a step is needed; None if it is not noted."""
        if self.log is None or (note := self.log.need(step_id, component)) is None:
            return None
        self.hold(STEP_BYTES)
        return note

    def end(self) -> None:
        """Give everything back. The item has ended, and its result is kept, or it never will be."""
        self._ended = True
        if self.held:
            self.hold(-self.held)
        self._leave_place()

    def waiting(self) -> "_WaitingForRuns":
        """A context in which the item waits for runs of its own: it does not count as executing."""
        return _WaitingForRuns(self)

    def call(self, scope: str) -> "_ComponentCall":
        """A context in which the component of the task `scope` executes."""
        return _ComponentCall(self, scope, self._family.shared.callers)

    async def pause(self, seconds: float) -> None:
        """Let time pass. The item gives up its place if not too many others have done so."""
        await self.set_aside(asyncio.sleep(seconds))

    async def set_aside(self, wait: Awaitable[object]) -> None:
        """Wait for something that takes its time, in the way of `pause`."""
        places = self._family.shared.places
        if places.paused >= places.limit:
            await wait
            return
        places.paused += 1
        try:
            async with self.waiting():
                await wait
        finally:
            places.paused -= 1

    def begin_waiting(self) -> None:
        """The item waits for one thing more."""
        self.set_idle(True)
        self._waits += 1
        self._leave_place()
        if self._waits == 1:
            shared = self._family.shared
            shared.waiting += 1
            if shared.on_waiting is not None:
                shared.on_waiting()

    def stop_waiting(self) -> None:
        """The item waits for one thing less, and goes on at once, whether there is a place for it or not."""
        self._wait_no_more()
        self.set_idle(False)
        if self._needs_place():
            self._family.places.count(1)
            self._has_place = True

    async def end_waiting(self) -> None:
        """The item waits for one thing less, and goes on when it has a place again."""
        self._wait_no_more()
        try:
            if self._needs_place():
                self._returning = True
                try:
                    await self._family.places.take_back()
                finally:
                    self._returning = False
                self._has_place = True
                if self._waits or self._ended:
                    self._leave_place()
        finally:
            self.set_idle(False)

    def _wait_no_more(self) -> None:
        self._waits -= 1
        if not self._waits:
            self._family.shared.waiting -= 1

    def _needs_place(self) -> bool:
        return not (self._waits or self._has_place or self._returning or self._ended)

    def _leave_place(self) -> None:
        if self._has_place:
            self._has_place = False
            self._family.places.give_back()


class _WaitingForRuns:
    """See `ItemWork.waiting`."""

    __slots__ = ("_work",)

    def __init__(self, work: ItemWork) -> None:
        self._work = work

    async def __aenter__(self) -> None:
        self._work.begin_waiting()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            self._work.stop_waiting()
        else:
            await self._work.end_waiting()


class _ComponentCall:
    """See `ItemWork.call`."""

    __slots__ = ("_callers", "_scope", "_work")

    def __init__(self, work: ItemWork, scope: str, callers: dict[str, ItemWork]) -> None:
        self._work = work
        self._scope = scope
        self._callers = callers

    async def __aenter__(self) -> None:
        self._callers[self._scope] = self._work

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._callers.pop(self._scope, None) is not None:
            return
        # It has asked for runs, and waited for them until now.
        if isinstance(error, asyncio.CancelledError):
            self._work.stop_waiting()
        else:
            await self._work.end_waiting()
