"""The parameters of runs/watch <-> JSON, and what it tells.

Paths of errors use the names of `gateway.core.model`.
"""

from gateway.adapter import jsonrpc, status_to_json
from gateway.adapter.filters_json import run_filter_from_json
from gateway.adapter.json_members import Member, Members, Params, read_params
from gateway.adapter.params_json import resume_token_from_json, seconds_from_json
from gateway.core.json_text import boolean, quote
from gateway.core.model import JsonText, RunStatus
from gateway.core.run_sets import SetEvent, SetParams
from gateway.core.validation import validated

METHOD = "runs/set"
"""The method of the notifications."""


def set_params_from_json(params: Params) -> SetParams:
    """Read the parameters of runs/watch."""
    return validated(SetParams, read_params(params, WATCH))


def around_change(
    event: SetEvent, status: RunStatus, revision: int, *, deleted: bool, restarted: bool
) -> tuple[JsonText, JsonText]:
    """What stands in a notification of a change before and after the results of the run."""
    before, after = jsonrpc.around_params(METHOD)
    opening = f'{before}{{"event":"{event.value}","runId":{quote(status.run_id)}'
    closing = f"{_RESTARTED if restarted else ''}}}{after}"
    if deleted:
        return opening, closing
    first, last = status_to_json.around_results(status)
    return f'{opening},"revision":{revision},"run":{first}', f"{last}{closing}"


def caught_up_to_json(*, restarted: bool) -> JsonText:
    """The notification that the present is complete."""
    before, after = jsonrpc.around_params(METHOD)
    return f'{before}{{"event":"caughtUp"{_RESTARTED if restarted else ""}}}{after}'


def heartbeat_to_json() -> JsonText:
    """The notification that only shows that the stream lives."""
    before, after = jsonrpc.around_params(METHOD)
    return f'{before}{{"event":"heartbeat"}}{after}'


_RESTARTED = ',"restarted":true'
WATCH: Members = {
    "filter": Member("filter", run_filter_from_json),
    "resumeToken": Member("resume_token", resume_token_from_json),
    "onlyNew": Member("only_new", boolean),
    "includeResults": Member("include_results", boolean),
    "heartbeatSecs": Member("heartbeat_interval", seconds_from_json),
}
