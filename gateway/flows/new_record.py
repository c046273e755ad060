"""The record of a run that is accepted now."""

from typing import Final

from gateway.adapter.params_json import labels_to_json, observability_to_json
from gateway.core.clock import LATEST, start_of_run
from gateway.core.counted import counted
from gateway.core.errors import InvalidParams
from gateway.core.model import Nanoseconds, SubmitParams
from gateway.flows.nesting import Ancestry
from gateway.flows.run_ids import RUN_IDS
from gateway.flows.run_owners import key_scope, owner_to_json
from gateway.flows.run_record import RunRecord
from gateway.flows.values import write_object

MAX_ITEMS: Final = 1 << 24
"""The largest number of items of a run."""


def refuse_more_items(count: int) -> None:
    """Raise InvalidParams if a run may not have so many items."""
    if count > MAX_ITEMS:
        raise InvalidParams.field("inputs", description=f"at most {MAX_ITEMS} items")


def new_record(
    params: SubmitParams,
    scope: str,
    flow_name: str | None,
    ancestry: Ancestry | None,
    digest: str,
    *,
    run_timeout: float | None,
    run_id: str | None = None,
) -> RunRecord:
    """The record of a run with a new id, or `run_id`; `digest` is the fingerprint of what was submitted.

    It may take `run_timeout` seconds, or less if it says so itself.

    Raises Unavailable if the clock is wrong.
    """
    created_at = start_of_run()
    observability, owner = params.observability, params.owner
    # With more than 15 names the interpreter makes a dictionary for the call: the first ones go without.
    return RunRecord(
        run_id or RUN_IDS.next(created_at),
        params.flow_id,
        flow_name,
        params.flow_label,
        len(params.inputs),
        params.max_concurrency,
        overrides=params.overrides,
        variables=write_object(params.variables) if params.variables else "{}",
        observability=None if observability is None else observability_to_json(observability),
        scope=scope if owner is None else key_scope(owner.namespace, scope),
        key=params.idempotency_key,
        fingerprint=digest,
        created_at=created_at,
        depth=0 if ancestry is None else ancestry.depth,
        root_id=None if ancestry is None else ancestry.root_id,
        parent_id=None if ancestry is None else ancestry.parent_id,
        labels=labels_to_json(params.labels) if params.labels else None,
        deadline=deadline_of(created_at, params.execution_timeout, run_timeout),
        owner=None if owner is None else owner_to_json(owner),
    )


def deadline_of(created_at: Nanoseconds, seconds: float | None, most: float | None) -> Nanoseconds | None:
    """When a run has to have ended that was accepted at a time, given how long it says that it may take, and how long
    any run may; None: at any time.
    """
    if seconds is None or (most is not None and most < seconds):
        seconds = most
    return None if seconds is None else min(created_at + round(seconds * 1e9), LATEST)


def timeout_reason(record: RunRecord, run_timeout: float | None) -> str:
    """Why a run is cancelled at its deadline, given how long any run may take."""
    seconds = ((record.deadline or 0) - record.created_at) / 1e9
    is_common = record.deadline == deadline_of(record.created_at, None, run_timeout)
    setting = "run_timeout" if is_common else "execution_timeout"
    return f"the run took longer than {counted(seconds, 'second')} ({setting})"
