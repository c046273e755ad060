"""Runs that were ended in the engine, but not by a gateway: terminated by an operator, say."""

import time
from typing import TYPE_CHECKING

from temporalio.client import WorkflowExecutionStatus

from gateway.core.model import RunState
from gateway.runtimes.temporal.messages import ItemCounts, ResultsPart, RunEnd, RunResult

if TYPE_CHECKING:
    from gateway.runtimes.temporal.engine import Engine
    from gateway.runtimes.temporal.run_view import RunView


async def ended_outside(engine: "Engine", view: "RunView", status: WorkflowExecutionStatus) -> RunResult:
    """The end of such a run: all items that had no result by then were cancelled."""
    now = time.time_ns()
    total = view.record.total
    rest = ResultsPart(0, total, total, 0, 0, cancelled_at=now)
    reason = f"the run was ended in the engine ({status.name.lower()})"
    ended = RunEnd(RunState.CANCELLED, 1 << 40, ItemCounts(0, 0, 0, total), view.record.created_at, now, reason)
    return RunResult(ended, (rest,))
