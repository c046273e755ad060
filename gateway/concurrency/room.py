"""Room for what tasks have made and still hold: those that would make more wait while too much is held."""

import asyncio
from collections import deque
from typing import Final

from gateway.concurrency.memory_account import MemoryShare

UNCOUNTED: Final = 1 << 10
"""How many bytes of each task may not be counted yet: to count each small value would take longer than to make it."""


class Room:
    """Bounds the bytes that the tasks of many parties hold, to `limit` and one value more.

    Nobody knows how large a value gets. So a task asks for room before it makes a value, counts the value afterwards,
    and waits in between if there is no room: for all, or for its party, which may hold as much as it leaves free. Once
    every task that holds something waits, one of them goes on all the same, for only then can any of them end.

    What is held is counted in `share`, whose account may be full for other reasons; then tasks go on one by one.
    """

    def __init__(self, share: MemoryShare, limit: int) -> None:
        self.share = share
        self._limit = limit
        # Those that hold something come first, since their end makes room.
        self._holding: deque[_Waiter] = deque()
        self._others: deque[_Waiter] = deque()
        self._active = 0
        self._woken: asyncio.Future[None] | None = None

    def party(self) -> "RoomParty":
        """One more party."""
        return RoomParty(self)

    def is_full(self, party: "RoomParty") -> bool:
        """Whether a task of a party has to wait before it makes more."""
        held = self.share.held
        return held > 0 and (party.held + held > self._limit or not self.share.fits(0))

    async def wait(self, holder: "RoomHolder") -> None:
        """Wait until there is room for one more value of this holder."""
        woken = asyncio.get_running_loop().create_future()
        (self._holding if holder.makes_room else self._others).append((holder, woken))
        self.wake()
        try:
            await woken
        finally:
            if self._woken is woken:
                # By then it has made its value.
                asyncio.get_running_loop().call_soon(self._passed)

    def activate(self, change: int) -> None:
        """One more task that holds something goes on, or one less."""
        self._active += change
        self.wake()

    def wake(self) -> None:
        """Let the next task go on if there is room, or nobody else that would make some."""
        if self._woken is None and (self._holding or self._others):
            _ = self._wake_one_of(self._holding) or self._wake_one_of(self._others)

    def hold_back(self) -> None:
        """Let nobody go on before the next turn of the event loop."""
        if self._woken is None:
            loop = asyncio.get_running_loop()
            self._woken = loop.create_future()
            loop.call_soon(self._passed)

    def _wake_one_of(self, waiters: "deque[_Waiter]") -> bool:
        for _ in range(len(waiters)):
            holder, woken = waiters.popleft()
            if woken.done():
                continue
            if self._active and self.is_full(holder.party):
                waiters.append((holder, woken))
                continue
            self._woken = woken
            woken.set_result(None)
            return True
        return False

    def _passed(self) -> None:
        self._woken = None
        self.wake()


class RoomParty:
    """The tasks of one party, and how many bytes they hold together."""

    __slots__ = ("held", "room")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.held = 0


class RoomHolder:
    """What one task holds. It is idle while it waits for something that others have to do."""

    __slots__ = ("_counted", "_idle", "held", "party")

    def __init__(self, party: RoomParty) -> None:
        self.party = party
        self.held = 0
        self._counted = 0
        self._idle = 0

    @property
    def makes_room(self) -> bool:
        """Whether its end makes room for others."""
        return self._counted > 0

    def has_room(self) -> bool:
        """Whether there is room for one more value."""
        return not self.party.room.is_full(self.party)

    async def wait_for_room(self) -> None:
        """Wait until there is room for one more value."""
        if self.has_room():
            return
        self.set_idle(True)
        try:
            await self.party.room.wait(self)
        finally:
            self.set_idle(False)

    def hold(self, size: int) -> None:
        """Hold more, or less: a negative number of bytes. Up to UNCOUNTED are counted later, with others."""
        self.held += size
        uncounted = self.held - self._counted
        if uncounted and (not self.held or not -UNCOUNTED <= uncounted <= UNCOUNTED):
            self._count(uncounted)

    def hand_over(self, size: int) -> None:
        """Hold less by what is counted anew before the next turn of the event loop: nobody gets the room meanwhile."""
        self.party.room.hold_back()
        self.hold(-size)

    def set_idle(self, idle: bool) -> None:
        """Begin or end to wait. A task may wait for several things at the same time."""
        before = self._idle
        self._idle += 1 if idle else -1
        if self.makes_room and bool(before) != bool(self._idle):
            self.party.room.activate(-1 if idle else 1)

    def _count(self, size: int) -> None:
        party, before = self.party, self.makes_room
        self._counted += size
        party.held += size
        room = party.room
        room.share.count(size)
        if not self._idle and before != self.makes_room:
            room.activate(-1 if before else 1)
        elif size < 0:
            room.wake()


_Waiter = tuple[RoomHolder, "asyncio.Future[None]"]
