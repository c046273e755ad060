"""The status of a run, made of its record and what has come of its items."""

from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from gateway.adapter.params_json import labels_from_json
from gateway.core.model import ItemStatistics, Nanoseconds, RunState, RunStatus
from gateway.flows.run_record import Outcome, RunRecord

STATISTICS: Final = 256
"""How many statistics are kept: those of small runs are nearly always the same."""


def run_status(
    record: RunRecord,
    state: RunState,
    items: ItemStatistics,
    started_at: Nanoseconds | None,
    outcome: Outcome | None,
    *,
    expires_at: Nanoseconds | None = None,
) -> RunStatus:
    """The status of a run without results; `outcome` is None until it has ended."""
    # With more than 15 names the interpreter makes a dictionary for the call: few runs have an owner.
    status = RunStatus(
        run_id=record.run_id,
        flow_id=record.flow_id,
        flow_name=record.flow_name,
        flow_label=record.flow_label,
        status=state,
        items=items,
        created_at=record.created_at,
        completed_at=None if outcome is None else outcome.completed_at,
        labels={} if record.labels is None else labels_from_json(record.labels),
        parent_run_id=record.parent_id,
        root_run_id=record.root_id,
        depth=record.depth,
        cancel_reason=None if outcome is None else outcome.cancel_reason,
        started_at=started_at if outcome is None else outcome.started_at,
        expires_at=expires_at,
    )
    return status if record.owner is None else replace(status, namespace=record.namespace)


def ended_status(record: RunRecord, outcome: Outcome, expires_at: Nanoseconds | None) -> RunStatus:
    """The status of a run that has ended, without results."""
    items = statistics(record.total, 0, outcome.success, outcome.failed, outcome.cancelled)
    return run_status(record, outcome.status, items, None, outcome, expires_at=expires_at)


@lru_cache(STATISTICS)
def statistics(total: int, running: int, success: int, failed: int, cancelled: int = 0) -> ItemStatistics:
    """The numbers of items: those that neither run nor have finished are pending."""
    pending = total - running - success - failed - cancelled
    return ItemStatistics(
        total=total, pending=pending, running=running, success=success, failed=failed, cancelled=cancelled
    )
