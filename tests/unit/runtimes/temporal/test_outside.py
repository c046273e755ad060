"""Runs that were ended past the gateways, over an engine whose answers the test gives."""

from typing import cast

from temporalio.client import WorkflowExecutionStatus

from gateway.core.model import RunState
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.closed_history import ClosedHistory
from gateway.runtimes.temporal.engine import ClosedOutside, Engine
from gateway.runtimes.temporal.messages import KeptResult, ResultsPart, RunResult
from gateway.runtimes.temporal.outside import ended_outside

RECORD = RunRecord("r", "f", None, None, 6, None, None, "{}", None, "", None, "", 1)
CLOSED = ClosedOutside(WorkflowExecutionStatus.TERMINATED, 100, "e")


def result(index: int, *, failed: bool = False) -> ResultsPart:
    kept = KeptResult(index, None if failed else "1", 50, -1 if failed else None)
    return ResultsPart(index, index + 1, 1, int(failed), 1, (kept,))


class ClosedEngine:
    """One run that was terminated after some results."""

    def __init__(self, parts: list[ResultsPart], left: list[tuple[int, int]], started_at: int | None = 10) -> None:
        self.history = ClosedHistory()
        self.history.parts, self.history.left, self.history.started_at = parts, left, started_at
        self.history.revision = 20

    async def closed_history(self, run_id: str, execution: str) -> ClosedHistory:
        assert (run_id, execution) == ("r", "e")
        return self.history

    async def ended(self) -> RunResult:
        return await ended_outside(cast("Engine", self), RECORD, CLOSED)


async def test_results_keep_their_places_and_all_else_is_cancelled() -> None:
    ended = await ClosedEngine([result(4), result(1, failed=True)], [(0, 1), (2, 4), (5, 6)]).ended()
    assert [(part.low, part.high, part.cancelled_at) for part in ended.parts] == [
        (4, 5, None),
        (1, 2, None),
        (0, 1, 100),
        (2, 4, 100),
        (5, 6, 100),
    ]
    end = ended.ended
    assert (end.state, end.completed_at, end.started_at) == (RunState.CANCELLED, 100, 10)
    assert (end.counts.success, end.counts.failed, end.counts.cancelled) == (1, 1, 4)
    assert end.revision == 21
    assert end.cancel_reason == "the run was ended in the engine (terminated)"


async def test_all_results_make_the_end_that_they_would_have_made() -> None:
    end = (await ClosedEngine([result(index) for index in range(6)], []).ended()).ended
    assert (end.state, end.cancel_reason, end.counts.success) == (RunState.SUCCESS, None, 6)


async def test_a_run_that_nobody_has_begun_with_is_cancelled() -> None:
    end = (await ClosedEngine([], [(0, 6)], None).ended()).ended
    assert (end.state, end.started_at, end.counts.cancelled) == (RunState.CANCELLED, 100, 6)
