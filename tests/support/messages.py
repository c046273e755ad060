"""Hypothesis strategies of canonical messages: everything that the model allows and a wire can carry."""

import json
from collections.abc import Set as AbstractSet
from typing import Any

from hypothesis import strategies as st

from gateway.core.model import (
    MIN_HEARTBEAT,
    GetParams,
    ItemError,
    ItemResult,
    ItemStatistics,
    ObservabilityContext,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
)
from gateway.core.times import MAX_SECONDS, MIN_SECONDS

EXACT_TEXTS = ("1152921504606846977", "1e400", "0.1234567890123456789", "-0.0", "null", '{"b":1,"a":2}', '"\\u00e9"')
"""Values that any rewriting would change."""


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in members.items()) + "}"


_scalars = st.one_of(
    st.sampled_from((*EXACT_TEXTS, "true", "false", "0", "-1", "1E+2")),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds(json.dumps, st.text(), ensure_ascii=st.booleans()),
)
json_texts = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda texts: f"[{' , '.join(texts)}]"),
        st.dictionaries(st.text(), inner, max_size=4).map(_object),
    ),
    max_leaves=8,
)
"""Texts of JSON values, without white space around them."""

json_objects = st.dictionaries(st.text(), json_texts, max_size=3).map(_object)

times = st.integers(MIN_SECONDS * 10**9, MAX_SECONDS * 10**9 + 999_999_999)
timeouts = st.integers(0, 2**51).map(lambda nanos: nanos / 10**9) | st.sampled_from((0.0, 300.0, 315_576_000_000.0))
_counts = st.integers(0, 2**64 - 1)


def extensions(known: AbstractSet[str]) -> st.SearchStrategy[dict[str, str]]:
    """Members that a message does not name."""
    names = st.text().filter(lambda name: name not in known) | st.sampled_from(("createdAtSeqno", "schemaVersion"))
    return st.dictionaries(names, json_texts, max_size=3)


_OBSERVABILITY = {
    "trace_id",
    "span_id",
    "run_id",
    "flow_id",
    "step_id",
    "traceId",
    "spanId",
    "runId",
    "flowId",
    "stepId",
}
_optional_text = st.none() | st.text()
observability_contexts = st.builds(
    ObservabilityContext,
    trace_id=_optional_text,
    span_id=_optional_text,
    run_id=_optional_text,
    flow_id=_optional_text,
    step_id=_optional_text,
    extensions=extensions(_OBSERVABILITY),
)
labels = st.dictionaries(st.text(min_size=1, max_size=255), st.text(max_size=255), max_size=3)
submit_params = st.builds(
    SubmitParams,
    flow_id=st.text(min_size=1),
    inputs=st.lists(json_texts, max_size=4),
    wait=st.booleans(),
    max_concurrency=st.none() | st.integers(1, 2**32 - 1),
    overrides=st.none() | json_objects,
    observability=st.none() | observability_contexts,
    timeout=st.none() | timeouts,
    idempotency_key=st.none() | st.text(min_size=1, max_size=255),
    variables=st.dictionaries(st.text(), json_texts, max_size=3),
    flow_label=st.none() | st.text(min_size=1, max_size=255),
    labels=labels,
    execution_timeout=st.none() | timeouts.filter(lambda seconds: seconds > 0),
    extensions=extensions(
        {
            "flowId",
            "inputs",
            "wait",
            "maxConcurrency",
            "overrides",
            "observability",
            "timeoutSecs",
            "subflowKey",
            "variables",
            "flowLabel",
            "labels",
            "executionTimeoutSecs",
        }
    ),
)
get_params = st.builds(
    GetParams,
    run_id=st.text(min_size=1),
    wait=st.booleans(),
    include_results=st.booleans(),
    result_order=st.sampled_from(ResultOrder),
    observability=st.none() | observability_contexts,
    timeout=st.none() | timeouts,
    resume_token=st.binary(max_size=64),
    heartbeat_interval=st.none() | timeouts.filter(lambda seconds: seconds >= MIN_HEARTBEAT),
    extensions=extensions(
        {
            "runId",
            "wait",
            "includeResults",
            "resultOrder",
            "observability",
            "timeoutSecs",
            "resumeToken",
            "heartbeatSecs",
        }
    ),
)
_STATISTICS = {"total", "pending", "running", "success", "completed", "failed", "cancelled"}
statistics = st.builds(
    ItemStatistics,
    total=_counts,
    pending=_counts,
    running=_counts,
    success=_counts,
    failed=_counts,
    cancelled=_counts,
    extensions=extensions(_STATISTICS),
)
item_errors = st.builds(
    ItemError,
    code=st.integers(-(2**63), 2**63 - 1),
    message=st.text(),
    data=st.none() | json_texts,
    extensions=extensions({"code", "message", "data"}),
)


@st.composite
def item_results(draw: st.DrawFn) -> ItemResult:
    """An entry of `results`, unfinished ones and those in states of other dialects included."""
    state, spelling = draw(_states)
    known = {"itemIndex", "status", "result", "completedAt"}
    fields: dict[str, Any] = {"extensions": draw(extensions(known)) | spelling}
    outcome = draw(st.sampled_from(("value", "error", None)))
    if outcome is not None:
        fields[outcome] = draw(json_texts if outcome == "value" else item_errors)
        unknown = draw(extensions({"outcome", "value", "result", "error"}))
        if unknown:
            fields["extensions"]["result"] = _object(unknown)
    return ItemResult(item_index=draw(_counts), status=state, completed_at=draw(st.none() | times), **fields)


_states = st.sampled_from(
    [
        *((state, {}) for state in RunState),
        (RunState.RUNNING, {"status": '"paused"'}),
        (RunState.FAILED, {"status": '"recoveryFailed"'}),
        (RunState.FAILED, {"status": '"recoveryfailed"'}),
    ]
)


@st.composite
def run_statuses(draw: st.DrawFn) -> RunStatus:
    """A status, with or without results."""
    state, spelling = draw(_states)
    known = {"runId", "flowId", "flowName", "flowLabel", "status", "items", "createdAt", "completedAt", "results"} | {
        "startedAt",
        "parentRunId",
        "rootRunId",
        "depth",
        "labels",
        "cancelReason",
        "expiresAt",
    }
    return RunStatus(
        run_id=draw(st.text()),
        flow_id=draw(st.text()),
        flow_name=draw(_optional_text),
        flow_label=draw(_optional_text),
        status=state,
        items=draw(statistics),
        created_at=draw(times),
        completed_at=draw(st.none() | times),
        results=draw(st.none() | st.lists(item_results(), max_size=3)),
        extensions=draw(extensions(known)) | spelling,
        labels=draw(labels),
        parent_run_id=draw(_optional_text),
        root_run_id=draw(_optional_text),
        depth=draw(st.integers(0, 2**32 - 1)),
        cancel_reason=draw(_optional_text),
        started_at=draw(st.none() | times),
        expires_at=draw(st.none() | times),
        namespace=draw(st.sampled_from(["default", "team-a"])),
    )
