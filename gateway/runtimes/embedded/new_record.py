"""The record of a run that is accepted now."""

import os
import time

from gateway.adapter.params_json import observability_to_json
from gateway.core.model import Nanoseconds, SubmitParams
from gateway.runtimes.embedded.journal import RunRecord
from gateway.runtimes.embedded.nesting import Ancestry
from gateway.runtimes.embedded.values import write_object


def new_record(
    params: SubmitParams, scope: str, flow_name: str | None, ancestry: Ancestry | None, digest: str
) -> RunRecord:
    """The record of a run with a new id; `digest` is the fingerprint of what was submitted."""
    created_at = time.time_ns()
    observability = params.observability
    return RunRecord(
        run_id=_new_run_id(created_at),
        flow_id=params.flow_id,
        flow_name=flow_name,
        flow_label=params.flow_label,
        total=len(params.inputs),
        max_concurrency=params.max_concurrency,
        overrides=params.overrides,
        variables=write_object(params.variables) if params.variables else "{}",
        observability=None if observability is None else observability_to_json(observability),
        scope=scope,
        key=params.idempotency_key,
        fingerprint=digest,
        created_at=created_at,
        depth=0 if ancestry is None else ancestry.depth,
        root_id=None if ancestry is None else ancestry.root_id,
    )


def _new_run_id(created_at: Nanoseconds) -> str:
    """A UUID of version 7: runs that are accepted one after the other are neighbours in the index of the journal."""
    time, chance = f"{created_at // 1_000_000:012x}", os.urandom(10).hex()
    variant = "89ab"[int(chance[0], 16) % 4]
    return f"{time[:8]}-{time[8:]}-7{chance[1:4]}-{variant}{chance[4:7]}-{chance[7:19]}"
