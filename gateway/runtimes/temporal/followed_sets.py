"""Following sets of runs: first the runs that there are, then what changes.

A follower reads what a poller of its set finds, of which there is one on this gateway. When it comes with a position of
before, or of another gateway, what it was told by then is compared with what the poller knows.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from gateway.concurrency.tasks import create_shared_task
from gateway.core.errors import Overloaded, Unavailable, shutting_down
from gateway.core.internal_errors import release_frames
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetPart
from gateway.core.time_away import PAUSE, TimeAway, passes
from gateway.runtimes.temporal.catching_up import CatchingUp
from gateway.runtimes.temporal.changes_after import ChangesAfter
from gateway.runtimes.temporal.question_budget import QuestionBudget
from gateway.runtimes.temporal.run_reader import PATIENCE, RunReader
from gateway.runtimes.temporal.set_point import SetPoint
from gateway.runtimes.temporal.set_poller import SetPoller
from gateway.runtimes.temporal.visible_runs import VisibleRuns

ASKED_SECONDS: Final = 2.0
"""How long a follower waits at most, before it is complete, until all open runs have been asked how far they are."""


class FollowedSets:
    """The sets that are followed on this gateway."""

    def __init__(self, visible: VisibleRuns, reader: RunReader) -> None:
        self._visible = visible
        self._reader = reader
        self._budget = QuestionBudget()
        self._pollers: dict[bytes, tuple[SetPoller, asyncio.Task[None]]] = {}
        self._draining = False

    def drain(self) -> None:
        """End all with Unavailable."""
        self._draining = True
        for poller, _ in self._pollers.values():
            poller.wake()

    async def parts(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """Yield parts for ever, as `Runtime.watch_set` says."""
        async with self._poller(wanted) as poller:
            while not poller.polls:
                await self.moved(poller)
            point = SetPoint.from_bytes(position, poller.digest) if position else None
            restarted = bool(position) and point is None
            following = _Following(self, poller, point, position if point else b"")
            async with aclosing(following.parts(only_new=only_new and not position)) as parts:
                async for part in parts:
                    yield part._replace(restarted=True) if restarted else part
                    restarted = False

    async def caught_up(
        self, poller: SetPoller, point: SetPoint | None
    ) -> AsyncGenerator[tuple[SetPart | None, SetPoint | None, ChangesAfter | None], None]:
        """Yield parts until the follower knows what the poller does, and the points after them; then what follows."""
        patience = TimeAway(PATIENCE)
        while True:
            catching_up = CatchingUp(self._visible, self._reader, self._budget, poller, point)
            try:
                async with aclosing(catching_up.parts()) as parts:
                    async for part in parts:
                        point = catching_up.point
                        yield part, point, None
                yield None, point, ChangesAfter(poller, catching_up.known_at, catching_up.told)
                return
            except (Unavailable, Overloaded) as failure:
                if self._draining or not passes(failure) or not patience.failure():
                    raise
                release_frames(failure)
                pause = failure.retry_after or PAUSE
            await asyncio.sleep(pause)

    async def answered(self, poller: SetPoller, asked_at: float) -> None:
        """Wait until each open run has been asked once: what is only likely differs from what was told."""
        while not (poller.open.were_asked_once or time.monotonic() >= asked_at + ASKED_SECONDS):
            poller.hurry()
            await self.moved(poller)

    async def settled(self, poller: SetPoller, polls: int, asked_at: float) -> None:
        """Wait until what had happened at a time is known, when there had been so many polls."""
        # One that was under way may have missed what was there.
        while poller.polls < polls + 2 or not (
            poller.open.were_asked_since(asked_at) or time.monotonic() >= asked_at + ASKED_SECONDS
        ):
            poller.hurry()
            await self.moved(poller)

    async def moved(self, poller: SetPoller) -> None:
        """Wait for the next poll. Raises Unavailable if polls fail for long, or the gateway drains."""
        if self._draining:
            raise shutting_down()
        if poller.failure is not None:
            raise poller.failure.with_traceback(None)
        await asyncio.wait({poller.moved})

    @asynccontextmanager
    async def _poller(self, wanted: RunFilter) -> AsyncIterator[SetPoller]:
        """A block in which there is a poller of a set."""
        key = wanted.digest()
        if key not in self._pollers:
            poller = SetPoller(self._visible, self._reader, self._budget, wanted)
            self._pollers[key] = poller, create_shared_task(poller.run())
            self._budget.pollers += 1
        poller, task = self._pollers[key]
        poller.readers += 1
        try:
            yield poller
        finally:
            poller.readers -= 1
            if not poller.readers:
                del self._pollers[key]
                self._budget.pollers -= 1
                task.cancel()


class _Following:
    """One reader of a set, which goes on after `point`; None is the beginning."""

    def __init__(self, sets: FollowedSets, poller: SetPoller, point: SetPoint | None, position: bytes) -> None:
        self._sets = sets
        self._poller = poller
        self._point = point
        self._position = position

    async def parts(self, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """Yield parts for ever."""
        sets, poller, caught_up = self._sets, self._poller, False
        changes = ChangesAfter(poller) if only_new else self._goes_on()
        while True:
            polls, asked_at = poller.polls, time.monotonic()
            if changes is None:
                if self._point is not None:
                    await sets.answered(poller, asked_at)
                async with aclosing(sets.caught_up(poller, self._point)) as found:
                    async for part, self._point, following in found:
                        changes = following
                        if part is not None:
                            self._position = part.position
                            yield part
            assert changes is not None
            if not caught_up and not only_new:
                await sets.settled(poller, polls, asked_at)
            while changes is not None:
                while (part := changes.next()) is not None:
                    self._position = part.position
                    yield part
                if changes.are_lost:
                    # This follower was so slow: what it has not been told is found again.
                    self._point = SetPoint.from_bytes(self._position, poller.digest)
                    changes = None
                elif not caught_up:
                    caught_up = True
                    number = 0 if self._point is None or self._point.listing else self._point.number
                    self._position = poller.position(number)
                    yield SetPart([], self._position, caught_up=True)
                else:
                    await sets.moved(poller)

    def _goes_on(self) -> ChangesAfter | None:
        """What follows, if the poller itself has told what was before."""
        if self._point is None or self._point.origin != self._poller.origin:
            return None
        count = self._poller.told_before(self._position)
        return None if count is None else ChangesAfter(self._poller, count)
