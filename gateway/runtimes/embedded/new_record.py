"""The record of a run that is accepted now."""

from gateway.adapter.params_json import labels_to_json, observability_to_json
from gateway.core.clock import start_of_run
from gateway.core.model import SubmitParams
from gateway.runtimes.embedded.deadlines import deadline_of
from gateway.runtimes.embedded.journal import RunRecord
from gateway.runtimes.embedded.nesting import Ancestry
from gateway.runtimes.embedded.run_ids import RUN_IDS
from gateway.runtimes.embedded.run_owners import key_scope, owner_to_json
from gateway.runtimes.embedded.values import write_object


def new_record(
    params: SubmitParams,
    scope: str,
    flow_name: str | None,
    ancestry: Ancestry | None,
    digest: str,
    *,
    run_timeout: float | None,
) -> RunRecord:
    """The record of a run with a new id; `digest` is the fingerprint of what was submitted.

    It may take `run_timeout` seconds, or less if it says so itself.

    Raises Unavailable if the clock is wrong.
    """
    created_at = start_of_run()
    observability, owner = params.observability, params.owner
    # With more than 15 names the interpreter makes a dictionary for the call: the first ones go without.
    return RunRecord(
        RUN_IDS.next(created_at),
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
