"""The status of a run, made of its record and what has come of its items."""

from functools import lru_cache
from typing import Final

from gateway.core.model import ItemStatistics, Nanoseconds, RunState, RunStatus
from gateway.runtimes.embedded.journal import RunRecord

STATISTICS: Final = 256
"""How many statistics are kept: those of small runs are nearly always the same."""


def run_status(
    record: RunRecord, state: RunState, items: ItemStatistics, completed_at: Nanoseconds | None
) -> RunStatus:
    """The status of a run without results; `completed_at` is None until it has ended."""
    return RunStatus(
        run_id=record.run_id,
        flow_id=record.flow_id,
        flow_name=record.flow_name,
        flow_label=record.flow_label,
        status=state,
        items=items,
        created_at=record.created_at,
        completed_at=completed_at,
    )


@lru_cache(STATISTICS)
def statistics(total: int, running: int, success: int, failed: int) -> ItemStatistics:
    """The numbers of items: those that neither run nor have finished are pending."""
    pending = total - running - success - failed
    return ItemStatistics(total=total, pending=pending, running=running, success=success, failed=failed)
