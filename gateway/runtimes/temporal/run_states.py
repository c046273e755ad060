"""What has become of runs that visibility has found: of those that are open it does not tell how far they are.

These are asked for, a few at once. If that takes too long, as when no gateway executes, what is known here has to do.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from msgspec.structs import replace

from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import RunNotFound, Unavailable
from gateway.core.model import RunState, RunStatus
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.runtimes.temporal.run_view import RunView
from gateway.runtimes.temporal.visible_runs import VisibleRun

STATES: Final = 256
"""How many runs are asked for together."""

AT_ONCE: Final = 16
"""How many of them at the same time, of all lists on this gateway."""

PATIENCE_SECONDS: Final = 2.0
"""How long it may take until all of these have answered."""

SILENT_SECONDS: Final = 5.0
"""How long none is asked when none has answered: no gateway executes, then."""


class RunStates:
    """Tells the states of runs, as `reader` knows them or asks for them."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._silent_until = 0.0

    async def of(
        self, runs: Sequence[VisibleRun], at_once: int = STATES
    ) -> AsyncGenerator[list[RunStatus | None], None]:
        """Yield the states of runs in their order, so many together; None stands for a run that is not there."""
        for start in range(0, len(runs), at_once):
            some = runs[start : start + at_once]
            found: list[RunStatus | None] = []
            asked: list[tuple[int, asyncio.Task[RunStatus | None]]] = []
            pace = TimeSlice()
            for run in some:
                if run.ended is None and self._is_asked(run.record.run_id):
                    asked.append((len(found), asyncio.create_task(self._ask(run.record))))
                    found.append(self._known(run.record))
                elif run.ended is None:
                    found.append(self._known(run.record))
                else:
                    found.append(ended_view(run).snapshot().status)
                await pace.checkpoint()
            await self._answers(found, asked)
            yield found

    async def _answers(
        self, found: list[RunStatus | None], asked: list[tuple[int, "asyncio.Task[RunStatus | None]"]]
    ) -> None:
        """Put the answers that come in time into their places."""
        if not asked:
            return
        tasks = [task for _, task in asked]
        try:
            done, _ = await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        answered = [each for each in asked if each[1] in done and not isinstance(each[1].exception(), Unavailable)]
        if not answered:
            self._silent_until = time.monotonic() + SILENT_SECONDS
        for place, task in answered:
            found[place] = task.result()

    async def _ask(self, record: RunRecord) -> RunStatus | None:
        async with self._asking:
            try:
                return (await self._reader.get(record.run_id)).status
            except RunNotFound:
                return None

    def _is_asked(self, run_id: str) -> bool:
        view = self._reader.known(run_id)
        return time.monotonic() >= self._silent_until or (view is not None and view.ended is not None)

    def _known(self, record: RunRecord) -> RunStatus:
        """What is known here of a run that is open."""
        view = self._reader.known(record.run_id)
        return replace(accepted(record), status=RunState.RUNNING) if view is None else view.snapshot().status


def accepted(record: RunRecord) -> RunStatus:
    """The state of a run that has just been accepted."""
    return RunView(record).snapshot().status


def ended_view(run: VisibleRun) -> RunView:
    """A run that has ended, without its results."""
    view = RunView(run.record)
    view.ended = run.ended
    return view
