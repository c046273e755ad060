"""Runs that were ended past the gateways, over an engine whose answers the test gives."""

from typing import cast

import pytest
from temporalio.client import WorkflowExecutionStatus

from gateway.core.errors import Unavailable
from gateway.core.model import RunState
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.engine import ClosedOutside, Engine, NoWorker
from gateway.runtimes.temporal.messages import (
    Carried,
    ChunkDone,
    Inputs,
    KeptResult,
    ResultsPart,
    RunReport,
    RunResult,
    StartRun,
)
from gateway.runtimes.temporal.outside import ended_outside
from gateway.runtimes.temporal.run_progress import RunProgress

RECORD = RunRecord("r", "f", None, None, 6, None, None, "{}", None, "", None, "", 1)
CLOSED = ClosedOutside(WorkflowExecutionStatus.TERMINATED, 100, "e")
LONG = 200 << 10
"""So many characters of two results do not go into one answer."""


def result(index: int, *, size: int = 1, failed: bool = False) -> ResultsPart:
    kept = KeptResult(index, None if failed else "1", 50, -1 if failed else None)
    return ResultsPart(index, index + 1, 1, int(failed), size, (kept,))


class ClosedEngine:
    """One run that was terminated with some `progress`; None if nobody had begun with it."""

    def __init__(self, progress: RunProgress | None, start: StartRun) -> None:
        self.run = progress
        self.start = start
        self.questions = 0

    async def left(self, run_id: str, execution: str) -> tuple[tuple[int, int], ...] | None:
        return None if self.run is None else tuple(self.run.left())

    async def last_progress(self, run_id: str, execution: str, seen: int) -> RunReport | None:
        self.questions += 1
        return None if self.run is None else self.run.answer(seen)

    async def first_input(self, run_id: str, execution: str) -> StartRun:
        return self.start

    async def ended(self) -> RunResult:
        return await ended_outside(cast("Engine", self), RECORD, CLOSED)


async def test_results_keep_their_places_and_all_else_is_cancelled() -> None:
    start = StartRun(RECORD, Inputs(("1",) * 6))
    run = RunProgress(start, 10)
    while run.hand_out() is not None:
        pass
    run.ended(4, ChunkDone(5, result(4, size=LONG)))
    run.ended(1, ChunkDone(2, result(1, size=LONG, failed=True)))
    engine = ClosedEngine(run, start)
    ended = await engine.ended()
    assert engine.questions == 2
    assert [(part.low, part.high, part.cancelled_at) for part in ended.parts] == [
        (4, 5, None),
        (1, 2, None),
        (0, 1, 100),
        (2, 3, 100),
        (3, 4, 100),
        (5, 6, 100),
    ]
    end = ended.ended
    assert (end.state, end.completed_at, end.started_at) == (RunState.CANCELLED, 100, 10)
    assert (end.counts.success, end.counts.failed, end.counts.cancelled) == (1, 1, 4)
    assert end.revision > run.revision
    assert end.cancel_reason == "the run was ended in the engine (terminated)"


async def test_all_results_make_the_end_that_they_would_have_made() -> None:
    start = StartRun(RECORD, Inputs(("1",) * 6))
    run = RunProgress(start, 10)
    while (items := run.hand_out()) is not None:
        run.ended(items[0], ChunkDone(items[0] + 1, result(items[0])))
    end = (await ClosedEngine(run, start).ended()).ended
    assert (end.state, end.cancel_reason, end.counts.success) == (RunState.SUCCESS, None, 6)


async def test_what_came_before_an_execution_that_nobody_has_begun_counts() -> None:
    carried = Carried(7, 10, 2, 0, rest=((0, 1),), done=((1, 2),), parts=(result(1),))
    ended = await ClosedEngine(None, StartRun(RECORD, Inputs(("1",) * 6), carried=carried)).ended()
    assert [(part.low, part.high) for part in ended.parts] == [(1, 2), (0, 1), (2, 6)]
    assert (ended.ended.revision, ended.ended.counts.cancelled) == (8, 5)


async def test_while_nobody_answers_nothing_is_told() -> None:
    class SilentEngine(ClosedEngine):
        async def left(self, run_id: str, execution: str) -> tuple[tuple[int, int], ...] | None:
            raise NoWorker("nobody")

    with pytest.raises(Unavailable, match="nobody"):
        await SilentEngine(None, StartRun(RECORD, Inputs(()))).ended()
