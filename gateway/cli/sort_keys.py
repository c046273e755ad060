"""The orders in which runs are shown."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gateway.cli.output import finished_items

if TYPE_CHECKING:
    from gateway.client import RunStatus


class SortKey(StrEnum):
    """What is first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    PROGRESS = "progress"
    ITEMS = "items"
    STATE = "state"
    FLOW = "flow"


def _part(run: "RunStatus") -> float:
    return finished_items(run) / run.items.total if run.items.total else 1.0


_PLACES: "dict[SortKey, Callable[[RunStatus], tuple[Any, ...]]]" = {
    SortKey.NEWEST: lambda run: (-run.created_at_ns, run.run_id),
    SortKey.OLDEST: lambda run: (run.created_at_ns, run.run_id),
    SortKey.PROGRESS: lambda run: (-_part(run), -run.created_at_ns, run.run_id),
    SortKey.ITEMS: lambda run: (-run.items.total, -run.created_at_ns, run.run_id),
    SortKey.STATE: lambda run: (run.status, -run.created_at_ns, run.run_id),
    SortKey.FLOW: lambda run: (run.flow_name or run.flow_id, -run.created_at_ns, run.run_id),
}


def place_of_run(key: SortKey) -> "Callable[[RunStatus], tuple[Any, ...]]":
    """What of two runs says which is first."""
    return _PLACES[key]
