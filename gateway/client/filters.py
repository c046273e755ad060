"""Which runs: the filter of the clients."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway.client.requests import check_texts
from gateway.core import run_filter
from gateway.core.errors import InvalidParams
from gateway.core.model import Nanoseconds, RunState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs: those that meet every condition that is given. Without any, all runs match.

    Times need a time zone: `datetime.now(UTC) - timedelta(hours=2)`.
    """

    states: Iterable[RunState] = ()
    """In one of these states; empty: in any."""
    flow_ids: Iterable[str] = ()
    """Of one of these flows, at most 100; empty: of any."""
    flow_label: str | None = None
    """With this label, the one of `submit(flow_label=...)`; with a `*` at its end: with a label that begins so."""
    flow_name: str | None = None
    """Of a flow with this name; with a `*` at its end: with a name that begins so."""
    created_after: datetime | None = None
    """Accepted at this time or later."""
    created_before: datetime | None = None
    """Accepted before this time."""
    parent_run_id: str | None = None
    """Submitted by this run."""
    root_run_id: str | None = None
    """Inside this run, however deep."""
    roots_only: bool = False
    """Not inside another run."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """With all of these labels, each with this value."""


def canonical(wanted: RunFilter | None) -> run_filter.RunFilter:
    """Return the filter as the gateway has it; None stands for all runs. Raises InvalidParams if it is not valid."""
    wanted = wanted or RunFilter()
    fields: dict[str, object] = {
        "states": tuple(wanted.states),
        "flow_ids": tuple(wanted.flow_ids),
        "flow_label": wanted.flow_label,
        "flow_name": wanted.flow_name,
        "created_after": _nanoseconds(wanted.created_after, "created_after"),
        "created_before": _nanoseconds(wanted.created_before, "created_before"),
        "parent_run_id": wanted.parent_run_id,
        "root_run_id": wanted.root_run_id,
        "roots_only": wanted.roots_only,
        "labels": dict(wanted.labels),
    }
    check_texts(fields, "filter")
    return run_filter.canonical_filter(fields, "filter")


def _nanoseconds(time: datetime | None, name: str) -> Nanoseconds | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise InvalidParams.field("filter", name, description="has no time zone")
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000
