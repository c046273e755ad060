"""What the log is told with a line about a run: its id and its trace, as fields beside the message."""

from gateway.telemetry import tracing


def of_run(run_id: str | None, trace_id: str | None = None) -> dict[str, str]:
    """The `extra` of a line about a run; nothing of it where nothing is known.

    Without a trace of the run, it is the current one, if there is one.
    """
    if trace_id is None and tracing.tracer is not None and (ids := tracing.ids()) is not None:
        trace_id = ids[0]
    fields = {"run_id": run_id, "trace_id": trace_id}
    return {name: value for name, value in fields.items() if value}
