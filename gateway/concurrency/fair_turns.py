"""One budget of time for everything that computes: each turn of the event loop spends it once, on whoever is next."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

TURN_SECONDS: Final = 0.0005
"""How long all work together may hold the event loop in one of its turns, before everybody else is served."""

MAX_WOKEN: Final = 32
"""How many tasks are woken for one turn at most. Waking one costs some microseconds, even if it comes too late."""

_OVERDRAWN: Final = 40
"""A turn that has taken so many times its budget is paid for. Shorter ones are made up for by others."""

_REST: Final = 2
"""How many times what a turn has overdrawn passes before the next one."""


class FairTurns:
    """Shares each turn of the event loop among lines of tasks, in rotation.

    A line is a party that must not suffer from the others; it may have any number of tasks. While a turn has time left
    and nobody waits, checkpoints are free. Otherwise tasks queue in their lines, and each turn serves the lines one
    after the other, a task of each. A task that is served goes on until the time of the turn is used up.

    Checkpoints can only be as fine as the work between them: a turn may last longer by one piece of work. A piece that
    takes very long, as a text of 50 MB does that is put together, is followed by a rest, in which everything else has
    the event loop to itself: otherwise such pieces would leave nothing of it.

    `clock` gives the time, `worked` the processor time of the event loop.
    """

    def __init__(
        self,
        budget: float = TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self.number = 0
        """Which turn it is."""
        self._budget = budget
        self._clock = clock
        self._worked = worked
        self._begun = 0.0
        self._rotation: deque[Line] = deque()
        self._in_turn = False
        self._until = 0.0
        self._woken = self._served = 0

    def line(self) -> "Line":
        """A line of its own for one more party."""
        return Line(self)

    def has_time(self) -> bool:
        """Whether the turn has time left."""
        return self._clock() < self._until

    def admit(self) -> int:
        """The number of the turn if a newcomer may work now, or 0."""
        if self._rotation:
            return 0
        if not self._in_turn:
            self._begin()
            self._until = self._clock() + self._budget
            return self.number
        return self.number if self._clock() < self._until else 0

    def serve(self) -> int:
        """The number of the turn if a task that was woken for it may work, or 0 if it is too late for it."""
        now = self._clock()
        if not self._until:
            # The turn begins now: what the event loop did since the task was woken is not ours.
            self._until = now + self._budget
        elif now >= self._until:
            return 0
        self._served += 1
        return self.number

    def enter(self, line: "Line", *, first: bool = False) -> None:
        """A line has tasks that wait, from now on."""
        if first:
            self._rotation.appendleft(line)
        else:
            self._rotation.append(line)
        if not self._in_turn:
            self._begin()

    def _begin(self) -> None:
        self._in_turn = True
        self._begun = self._worked()
        self.number += 1
        asyncio.get_running_loop().call_soon(self._next)

    def _go_on(self) -> None:
        """Begin a turn after a rest."""
        self._begun = self._worked()
        self._next()

    def _next(self) -> None:
        """Begin a turn, once in each turn of the event loop while there is work."""
        before, self._begun = self._begun, self._worked()
        if self._begun - before > _OVERDRAWN * self._budget:
            self._until = 0.0
            asyncio.get_running_loop().call_later(_REST * (self._begun - before), self._go_on)
            return
        self.number += 1
        if not self._rotation:
            self._in_turn = False
            return
        self._until = 0.0
        # As many as came in time before; if all did, a few more, since to wake one in vain costs as much as some work.
        more = 1 + self._woken // 8 if self._served >= self._woken else 0
        number = min(MAX_WOKEN, self._served + more)
        self._woken = self._served = 0
        while self._rotation and self._woken < max(1, number):
            line = self._rotation.popleft()
            self._woken += line.wake()
            if line.waiting:
                self._rotation.append(line)
        asyncio.get_running_loop().call_soon(self._next)


class Line:
    """The tasks of one party. They share what a turn gives to their line."""

    __slots__ = ("_tasks", "_turn", "_turns")

    def __init__(self, turns: FairTurns) -> None:
        self._turns = turns
        self._turn = 0
        self._tasks: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many tasks wait for a turn."""
        return len(self._tasks)

    def goes_on(self) -> bool:
        """Whether a task may go on in this turn, without a checkpoint."""
        turns = self._turns
        if self._turn == turns.number and turns.has_time():
            return True
        turn = turns.admit()
        if turn:
            self._turn = turn
        return turn > 0

    async def checkpoint(self) -> None:
        """Return at once if the task may go on in this turn; else wait for the next turn of the line."""
        if not self.goes_on():
            self._turn = await self._wait_for_turn()

    def wake(self) -> bool:
        """Wake the first task that waits; False if none does."""
        while self._tasks:
            task = self._tasks.popleft()
            if not task.done():
                task.set_result(None)
                return True
        return False

    async def _wait_for_turn(self) -> int:
        task = asyncio.get_running_loop().create_future()
        if not self._tasks:
            self._turns.enter(self)
        self._tasks.append(task)
        await task
        while not (turn := self._turns.serve()):
            # Others took too long. The task is the first one in the next turn.
            task = asyncio.get_running_loop().create_future()
            if not self._tasks:
                self._turns.enter(self, first=True)
            self._tasks.appendleft(task)
            await task
        return turn
