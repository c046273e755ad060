"""Runs that were ended in the engine, but not by a gateway: terminated by an operator, say.

All that is told of them comes from the history that the engine keeps, so that all gateways tell the same.
"""

from typing import TYPE_CHECKING

from gateway.core.model import RunState
from gateway.runtimes.temporal.messages import ItemCounts, ResultsPart, RunEnd, RunResult

if TYPE_CHECKING:
    from gateway.flows.run_record import RunRecord
    from gateway.runtimes.temporal.engine import ClosedOutside, Engine


async def ended_outside(engine: "Engine", record: "RunRecord", closed: "ClosedOutside") -> RunResult:
    """The end of such a run: what had a result by then has it, and all other items were cancelled."""
    history = await engine.closed_history(record.run_id, closed.execution)
    at = max(closed.at, record.created_at)
    cancelled = tuple(ResultsPart(low, high, high - low, 0, 0, cancelled_at=at) for low, high in history.left)
    counts = history.counts()
    counts = ItemCounts(0, counts.success, counts.failed, sum(part.count for part in cancelled))
    state, reason = RunState.FAILED if counts.failed else RunState.SUCCESS, None
    if cancelled:
        state, reason = RunState.CANCELLED, f"the run was ended in the engine ({closed.status.name.lower()})"
    started_at = at if history.started_at is None else min(history.started_at, at)
    end = RunEnd(state, history.revision + 1, counts, started_at, at, reason)
    return RunResult(end, (*history.parts, *cancelled))
