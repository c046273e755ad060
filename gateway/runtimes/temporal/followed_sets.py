"""Following sets of runs: first the runs that there are, then what changes.

A follower reads what a poller of its set finds, of which there is one on this gateway. When it comes with a position of
before, or of another gateway, all runs that may have changed since are compared with what the position remembers.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from gateway.concurrency.tasks import create_shared_task
from gateway.core.errors import Unavailable, shutting_down
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetPart
from gateway.runtimes.temporal.catching_up import PART, CatchingUp
from gateway.runtimes.temporal.question_budget import QuestionBudget
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.runtimes.temporal.set_point import SetPoint
from gateway.runtimes.temporal.set_poller import SetPoller
from gateway.runtimes.temporal.visible_runs import VisibleRuns

LOOK_SECONDS: Final = 0.05
"""How often followers look whether there is something new."""


class ChangesAfter:
    """Reads the changes that a poller has found from now on."""

    def __init__(self, poller: SetPoller) -> None:
        self._poller = poller
        self._count = poller.count

    @property
    def is_behind(self) -> bool:
        """Whether there are changes."""
        return self._count < self._poller.count

    def next(self, told: dict[str, int]) -> SetPart | None:
        """The next changes, without those that are not later than the revisions `told`. Raises Unavailable."""
        changes = self._poller.after(self._count, PART)
        if changes is None:
            raise Unavailable("the changes of the set are not kept any more", retry_after=1.0)
        self._count += len(changes)
        new = [each for each in changes if each.status is None or each.revision > told.get(each.run_id, -1)]
        return SetPart(new, new[-1].position) if new else None


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

    async def parts(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """Yield parts for ever, as `Runtime.watch_set` says."""
        async with self._poller(wanted) as poller:
            if not poller.polls:
                await self._polled(poller, 1)
            point = SetPoint.from_bytes(position, poller.digest) if position else None
            restarted = bool(position) and point is None
            number = 0 if point is None or point.listing else point.number
            # Positions grow from gateway to gateway, whatever their clocks say.
            poller.position(number)
            catching_up, reading = CatchingUp(self._visible, poller, point), ChangesAfter(poller)
            if not only_new or position:
                polls = poller.polls
                async with aclosing(catching_up.parts()) as parts:
                    async for part in parts:
                        yield part._replace(restarted=restarted)
                        restarted = False
                # One that was under way may have missed what was there when it was asked for.
                await self._polled(poller, polls + 2)
                while reading.is_behind:
                    if (later := reading.next(catching_up.told)) is not None:
                        yield later._replace(restarted=restarted)
                        restarted = False
            yield SetPart([], poller.position(number), caught_up=True, restarted=restarted)
            while True:
                while reading.is_behind:
                    if (later := reading.next({})) is not None:
                        yield later
                await self._pause()

    async def _polled(self, poller: SetPoller, polls: int) -> None:
        """Wait until a poller has polled so often."""
        while poller.polls < polls:
            if poller.failure is not None:
                raise poller.failure.with_traceback(None)
            poller.hurry()
            await self._pause()

    async def _pause(self) -> None:
        if self._draining:
            raise shutting_down()
        await asyncio.sleep(LOOK_SECONDS)

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
