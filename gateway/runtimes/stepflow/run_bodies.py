"""Runs <-> bodies of a Stepflow engine's REST API. No I/O.

Everything that an engine sends is checked. The functions that read raise RemoteError if it is not as it should be.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.adapter.overrides_json import divided_overrides
from gateway.core.json_text import quote
from gateway.core.model import ItemStatistics, JsonText, RunStatus, SubmitParams, blob_digest
from gateway.runtimes.stepflow.engine_errors import unexpected_response
from gateway.runtimes.stepflow.results import Results
from gateway.runtimes.stepflow.wire_format import (
    SummaryBody,
    WireFormat,
    decode_run,
    decode_run_list,
    read_blob_id,
    read_run_id,
    read_state,
    read_time,
)

_COUNTERS: Final = ("total", "completed", "running", "failed", "cancelled")


class EngineRun(NamedTuple):
    """A run, and its results if it is over and they came with it."""

    status: RunStatus
    results: Results | None


def run_request(params: SubmitParams, *, peek: bool) -> bytes:
    """Return the body that submits a run.

    With `peek` the engine answers after a moment, with the results if it has them by then.
    """
    parts = [f'{{"flowId":"{blob_digest(params.flow_id)}","input":[{",".join(params.inputs)}]']
    if params.overrides is not None and (overrides := _overrides(params.overrides)) is not None:
        parts.append(f'"overrides":{overrides}')
    if params.variables:
        variables = ",".join(f"{quote(name)}:{value}" for name, value in params.variables.items())
        parts.append(f'"variables":{{{variables}}}')
    if params.max_concurrency is not None:
        parts.append(f'"maxConcurrency":{params.max_concurrency}')
    if peek:
        parts.append('"wait":true,"timeoutSecs":0')
    return (",".join(parts) + "}").encode()


def run_from_json(body: bytes, wire_format: WireFormat) -> EngineRun:
    """Read one run, with its results if it has ended and the engine tells all of them."""
    summary, items = decode_run(body, wire_format)
    status = _run_status(summary)
    # An engine may show a run as ended a moment before it has the results in the same answer.
    if items is None or not status.status.terminal or len(items) < status.items.total:
        return EngineRun(status, None)
    return EngineRun(status, Results(items, status, wire_format, len(body)))


def runs_from_json(body: bytes) -> Iterator[RunStatus]:
    """Read a list of runs, each when it is asked for."""
    return map(_run_status, decode_run_list(body))


def _overrides(text: JsonText) -> JsonText | None:
    """Return overrides with the level `steps`, which clients may leave out, as in 0.9. None if there are none."""
    if text == "null":
        return None
    text, steps = divided_overrides(text)
    if steps is not None:
        return text
    return f'{{"steps":{text}}}' if text[1:-1].strip() else None


def _run_status(summary: SummaryBody) -> RunStatus:
    state, extensions = read_state(summary.status)
    items = summary.items
    if any(not 0 <= getattr(items, name) < 2**63 for name in _COUNTERS):
        raise unexpected_response("a number of items that is out of range")
    finished = items.completed + items.failed + items.cancelled
    running, cancelled = items.running, items.cancelled
    pending = max(0, items.total - finished - running)
    if state.terminal:
        # A run that is cancelled leaves its items as they are.
        running, pending, cancelled = 0, 0, max(cancelled, items.total - items.completed - items.failed)
    statistics = ItemStatistics(
        total=items.total,
        pending=pending,
        running=running,
        success=items.completed,
        failed=items.failed,
        cancelled=cancelled,
    )
    parent = None if summary.parent_run_id is None else read_run_id(summary.parent_run_id)
    root = None if parent is None or summary.root_run_id is None else read_run_id(summary.root_run_id)
    return RunStatus(
        run_id=read_run_id(summary.run_id),
        flow_id=read_blob_id(summary.flow_id),
        flow_name=summary.flow_name,
        status=state,
        items=statistics,
        created_at=read_time(summary.created_at),
        completed_at=None if summary.completed_at is None else read_time(summary.completed_at),
        parent_run_id=parent,
        root_run_id=root or parent,
        # The engine does not tell how deep it is.
        depth=0 if parent is None else 1 if root in (None, parent) else 2,
        extensions=extensions,
    )
