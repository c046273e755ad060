"""The filter of runs <-> JSON.

A member that the filter does not have is refused: a call must not concern more runs than its caller means. Paths of
errors use the names of `gateway.core.model`.
"""

from gateway.adapter.json_members import Member, Members, Params, optional_text, read_members, write_object
from gateway.adapter.params_json import labels_from_json, labels_to_json
from gateway.adapter.status_from_json import time_from_json
from gateway.core.errors import GivenName, InvalidParams, shortened
from gateway.core.json_text import boolean, elements, quote, string
from gateway.core.model import JsonText, RunState
from gateway.core.run_filter import MAX_FLOW_IDS, RunFilter, asked_states, canonical_filter
from gateway.core.times import rfc3339

STATES_BY_SPELLING = {**{state.value: state for state in RunState}, "completed": RunState.SUCCESS}
"""The states as the specification spells them, and as real SDKs do."""


def run_filter_from_json(text: Params, *path: str | int) -> RunFilter:
    """Read the filter at `path`: its ids become canonical. An empty text is an absent condition."""
    fields = read_members(text, FILTER, *path)
    for name in fields.pop("extensions", ()):
        raise InvalidParams.field(*path, GivenName(shortened(name)), description="not a member of a filter")
    return canonical_filter(fields, *path)


def run_filter_to_json(wanted: RunFilter) -> JsonText:
    """Write a filter; conditions that are not given are left out."""
    parts = []
    if wanted.states:
        parts.append(f'"states":[{",".join(quote(state.value) for state in wanted.states)}]')
    if wanted.flow_ids:
        parts.append(f'"flowIds":[{",".join(map(quote, wanted.flow_ids))}]')
    texts = {
        "flowLabel": wanted.flow_label,
        "flowName": wanted.flow_name,
        "createdAfter": None if wanted.created_after is None else rfc3339(wanted.created_after),
        "createdBefore": None if wanted.created_before is None else rfc3339(wanted.created_before),
        "parentRunId": wanted.parent_run_id,
        "rootRunId": wanted.root_run_id,
    }
    parts += [f'"{name}":{quote(text)}' for name, text in texts.items() if text is not None]
    if wanted.roots_only:
        parts.append('"rootsOnly":true')
    if wanted.labels:
        parts.append(f'"labels":{labels_to_json(wanted.labels)}')
    return write_object(parts, {})


def state_from_json(text: JsonText, *path: str | int) -> RunState:
    """Read a state that is asked for."""
    state = STATES_BY_SPELLING.get(string(text, *path))
    if state is None:
        raise InvalidParams.field(*path, description=f"expected one of {', '.join(RunState)}")
    return state


def _states(text: JsonText, *path: str | int) -> tuple[RunState, ...]:
    return asked_states(elements(text, *path), state_from_json, *path)


def _flow_ids(text: JsonText, *path: str | int) -> tuple[str, ...]:
    given = elements(text, *path)
    if len(given) > MAX_FLOW_IDS:
        raise InvalidParams.field(*path, description=f"expected at most {MAX_FLOW_IDS} entries")
    return tuple(string(flow_id, *path, index) for index, flow_id in enumerate(given))


FILTER: Members = {
    "states": Member("states", _states, spellings=tuple(STATES_BY_SPELLING)),
    "flowIds": Member("flow_ids", _flow_ids),
    "flowLabel": Member("flow_label", optional_text),
    "flowName": Member("flow_name", optional_text),
    "createdAfter": Member("created_after", time_from_json),
    "createdBefore": Member("created_before", time_from_json),
    "parentRunId": Member("parent_run_id", optional_text),
    "rootRunId": Member("root_run_id", optional_text),
    "rootsOnly": Member("roots_only", boolean),
    "labels": Member("labels", labels_from_json),
}
