"""What the log is told with lines about runs of this runtime."""

from gateway.adapter.params_json import observability_from_json
from gateway.flows.run_record import RunRecord
from gateway.telemetry.run_log import of_run


def fields_of(record: RunRecord) -> dict[str, str]:
    """The ids of a run and of its trace. For lines that are rare: it parses what came with the run."""
    context = None if record.observability is None else observability_from_json(record.observability)
    return of_run(record.run_id, None if context is None else context.trace_id)
