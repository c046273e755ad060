"""Runs that were ended in the engine, but not by a gateway: terminated by an operator, say.

All that is told of them comes from the history that the engine keeps, so that all gateways tell the same.
"""

from typing import TYPE_CHECKING

from gateway.core.model import RunState
from gateway.runtimes.temporal.messages import ItemCounts, ResultsPart, RunEnd, RunReport, RunResult
from gateway.runtimes.temporal.run_progress import RunProgress

if TYPE_CHECKING:
    from gateway.flows.run_record import RunRecord
    from gateway.runtimes.temporal.engine import ClosedOutside, Engine


async def ended_outside(engine: "Engine", record: "RunRecord", closed: "ClosedOutside") -> RunResult:
    """The end of such a run: what had a result by then has it, and all other items were cancelled.

    Raises NoWorker if no gateway that executes runs answers: only these know what had a result.
    """
    left = await engine.left(record.run_id, closed.execution)
    last = await engine.last_progress(record.run_id, closed.execution, 0)
    if left is None or last is None:
        # Nobody had begun with this execution. An earlier one may have come to something.
        progress = RunProgress(await engine.first_input(record.run_id, closed.execution), closed.at)
        left, last = tuple(progress.left()), progress.answer(0)
    parts = list(last.parts)
    while last.more:
        seen = last.place + sum(part.count for part in last.parts)
        last = await engine.last_progress(record.run_id, closed.execution, seen)
        assert last is not None, "it has answered before"
        parts += last.parts
    at = max(closed.at, record.created_at)
    parts += (ResultsPart(low, high, high - low, 0, 0, cancelled_at=at) for low, high in left)
    return RunResult(_end(last, sum(high - low for low, high in left), closed, at), tuple(parts))


def _end(last: RunReport, left: int, closed: "ClosedOutside", at: int) -> RunEnd:
    counts = last.counts
    counts = ItemCounts(0, counts.success, counts.failed, counts.cancelled + left)
    state, reason = RunState.FAILED if counts.failed else RunState.SUCCESS, None
    if counts.cancelled:
        state, reason = RunState.CANCELLED, f"the run was ended in the engine ({closed.status.name.lower()})"
    return RunEnd(state, last.revision + 1, counts, min(last.started_at, at), at, reason)
