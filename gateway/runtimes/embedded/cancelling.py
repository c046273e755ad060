"""Cancels runs, with all runs inside them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.concurrency.batches import BATCH
from gateway.concurrency.single_flight import SingleFlight
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.control import reason_inside
from gateway.core.errors import RunNotFound, StateUnavailable, Unavailable
from gateway.core.internal_errors import release_frames, report_unexpected
from gateway.flows.run_fields import fields_of
from gateway.runtimes.embedded.cancel_notes import BegunCancel
from gateway.runtimes.embedded.ended_run import EndedRun
from gateway.runtimes.embedded.executor import Executor
from gateway.runtimes.embedded.family_tree import FamilyTree, Relative
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.runs_in_memory import RunsInMemory

LOOK_SECONDS: Final = 1.0
"""How often those who wait for the end of a run look whether the state can be written at all."""

RETRY_SECONDS: Final = 1.0
"""Seconds until the journal is asked again that could not be read or written."""


class Cancelling:
    """Cancels runs that have not ended.

    A run and all that are inside it stop executing, from the outermost one on: so nothing comes of what others have
    lost. Then they end, from the innermost ones on, and each is durable before the next. Before the first of several
    ends, a note is durable that they are to: wherever that is cut off, it goes on after the next start, and no run of
    them executes any more.

    `find` brings a run back into memory, and `finish` has a run end that does not execute.
    """

    def __init__(
        self,
        tree: FamilyTree,
        executor: Executor,
        journal: Journal,
        runs: RunsInMemory,
        *,
        find: Callable[[str], Awaitable[Run | EndedRun]],
        finish: Callable[[Run], None],
    ) -> None:
        self._tree = tree
        self._executor = executor
        self._journal = journal
        self._active = runs.active
        self._accepting = runs.accepting
        self._find = find
        self._finish = finish
        self._cancels = SingleFlight(self._cancel)
        self._unwanted: set[str] = set()
        self._resumed: set[asyncio.Task[None]] = set()

    async def cancel(self, run_id: str, reason: str | None) -> None:
        """Return when a run has ended, durably, and nothing of it or inside it executes.

        Raises StateUnavailable if the state cannot be written: then it does not execute either, and ends when the state
        can be written again. Raises RunNotFound, and Unavailable if the runtime stops.
        """
        cancelling = asyncio.create_task(self._cancels.get(run_id, reason))
        cancelling.add_done_callback(retrieve_exception)
        try:
            while not cancelling.done():
                await asyncio.wait({cancelling}, timeout=LOOK_SECONDS)
                if not cancelling.done() and (obstacle := self._journal.readiness.obstacle) is not None:
                    raise StateUnavailable(
                        f"the run executes no more, and its end is still to be written: {obstacle}", retry_after=1.0
                    )
            cancelling.result()
        finally:
            cancelling.cancel()

    def awaits(self, run_id: str) -> bool:
        """Whether a run is brought back into memory only to end."""
        return run_id in self._unwanted

    def resume(self, cancel: BegunCancel) -> None:
        """Go on with a cancel that has begun before a restart. Nothing of the run executes from now on."""
        self._tree.cancel(self._tree.enter(cancel.run_id, ()))
        task = asyncio.create_task(self._cancels.get(cancel.run_id, cancel.reason))
        self._resumed.add(task)
        task.add_done_callback(self._resumed.discard)
        task.add_done_callback(retrieve_exception)

    def stops(self, run_id: str) -> bool:
        """Whether a run, or one that it is inside, is being cancelled."""
        relative = self._tree.get(run_id)
        return relative is not None and relative.in_cancelled

    async def close(self) -> None:
        """Stop: those who wait get Unavailable."""
        await self._cancels.close()

    async def _cancel(self, run_id: str, reason: str | None) -> None:
        run = await self._found(run_id)
        if run is None:
            self._tree.leave(run_id)
            return
        if not run.cancel(reason):
            await run.over()
            return
        relative = self._tree.enter(run_id, ())
        self._tree.cancel(relative)
        self._executor.interrupt(run)
        inner_reason = reason_inside(run_id, reason)
        generations = await self._stop_inside(relative, inner_reason)
        if generations:
            await self._note(BegunCancel(run_id, reason))
        for generation in reversed(generations):
            await self._end_all(generation, inner_reason)
        self._end(run)
        await run.over()

    async def _note(self, cancel: BegunCancel) -> None:
        while True:
            try:
                return await self._journal.cancel_notes.add(cancel)
            except Unavailable as error:
                release_frames(error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _found(self, run_id: str) -> Run | None:
        """A run that has not ended; None if it has."""
        self._unwanted.add(run_id)
        try:
            run = await self._find(run_id)
        finally:
            self._unwanted.discard(run_id)
        return None if isinstance(run, EndedRun) else run

    async def _stop_inside(self, outer: Relative, reason: str) -> list[list[Relative]]:
        """Stop executing the runs inside another one; return them by how deep they are."""
        generations: list[list[Relative]] = []
        generation = list(outer.children)
        while generation:
            generations.append(generation)
            following: list[Relative] = []
            for number, relative in enumerate(generation, 1):
                run = self._active.get(relative.run_id)
                if run is not None:
                    self._stop(run, relative, reason)
                following += relative.children
                if number % BATCH == 0:
                    await asyncio.sleep(0)
            generation = following
        return generations

    def _stop(self, run: Run, relative: Relative, reason: str) -> None:
        if run.cancel(reason):
            self._tree.cancel(relative)
            self._executor.interrupt(run)
            if relative.run_id in self._accepting:
                self._journal.withdraw(relative.run_id)

    async def _end_all(self, generation: Sequence[Relative], reason: str) -> None:
        """Have runs end, and wait until they have. Their writes share commits."""
        ending: list[Run] = []
        for number, relative in enumerate(generation, 1):
            run = await self._settled(relative) if relative.live else None
            if run is not None:
                self._stop(run, relative, reason)
                self._end(run)
                ending.append(run)
            if number % BATCH == 0:
                await asyncio.sleep(0)
        for run in ending:
            try:
                await run.over()
            except Exception as error:
                # It stays unfinished, since the journal is at fault; the others must not.
                report_unexpected(error, fields_of(run.record))

    async def _settled(self, relative: Relative) -> Run | None:
        """A run that is in memory, and known to be accepted; None if it is not there, or has ended."""
        run_id = relative.run_id
        if (accepting := self._accepting.get(run_id)) is not None:
            await asyncio.wait({accepting})
        while (run := self._active.get(run_id)) is None:
            try:
                run = await self._found(run_id)
            except RunNotFound:
                run = None
            except Unavailable as error:
                release_frames(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if run is None:
                self._tree.leave(run_id)
            break
        return run

    def _end(self, run: Run) -> None:
        """Let a run that has stopped end."""
        if run.may_end is not None:
            run.may_end.set()
            if not self._executor.executes(run):
                self._finish(run)
