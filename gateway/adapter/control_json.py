"""Cancelling, listing and deleting runs: parameters and answers <-> JSON.

A member that is not known is refused: it may say something that would be lost, as that a run is not to be cancelled.
Paths of errors use the names of `gateway.core.model`.
"""

from typing import Any, Final

from msgspec.structs import replace

from gateway.adapter.filters_json import run_filter_from_json, run_filter_to_json
from gateway.adapter.json_members import (
    META,
    Member,
    Members,
    Params,
    members_of,
    optional_text,
    read_members,
    read_params,
    write_object,
)
from gateway.adapter.params_json import add_seconds, seconds_from_json
from gateway.adapter.status_from_json import run_status_from_json
from gateway.core.control import (
    BulkProgress,
    CancelParams,
    CancelRunsParams,
    DeleteParams,
    DeleteRunsParams,
    ListParams,
    RunList,
)
from gateway.core.errors import GivenName, InvalidParams, TooLarge, shortened
from gateway.core.json_text import boolean, elements, integer, quote, string
from gateway.core.model import JsonText
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.validation import validated

MAX_PARAMETER: Final = 256 << 10
"""The longest parameter of these methods, in characters: a filter that is as long as it may be has less."""

_ORDERS = {
    "newestFirst": RunOrder.NEWEST_FIRST,
    "newest_first": RunOrder.NEWEST_FIRST,
    "oldestFirst": RunOrder.OLDEST_FIRST,
    "oldest_first": RunOrder.OLDEST_FIRST,
}


def cancel_params_from_json(params: Params) -> CancelParams | CancelRunsParams:
    """Read the parameters of runs/cancel: of one run, or of all that match a filter."""
    fields = known_members(params, CANCEL)
    if not _names_many(fields):
        return validated(CancelParams, fields)
    for name in ("wait", "timeout"):
        if fields.pop(name, None):
            raise InvalidParams.field(name, description="goes with one run only, not with a filter")
    return validated(CancelRunsParams, fields)


def cancel_params_to_json(params: CancelParams | CancelRunsParams) -> JsonText:
    """Write the parameters of runs/cancel; members that hold their default are left out."""
    parts = [_which(params)]
    if params.reason is not None:
        parts.append(f'"reason":{quote(params.reason)}')
    if isinstance(params, CancelParams):
        if params.wait:
            parts.append('"wait":true')
        add_seconds(parts, "timeoutSecs", params.timeout)
    return write_object(parts, {})


def delete_params_from_json(params: Params) -> DeleteParams | DeleteRunsParams:
    """Read the parameters of runs/delete: of one run, or of all that match a filter."""
    fields = known_members(params, DELETE)
    return validated(DeleteRunsParams, fields) if _names_many(fields) else validated(DeleteParams, fields)


def delete_params_to_json(params: DeleteParams | DeleteRunsParams) -> JsonText:
    """Write the parameters of runs/delete; members that hold their default are left out."""
    return write_object([_which(params), *(['"cancel":true'] if params.cancel else [])], {})


def cancel_progress_to_json(progress: BulkProgress) -> JsonText:
    """Write what a cancel by filter has come to."""
    return f'{{"matched":{progress.matched},"cancelled":{progress.done},"unchanged":{progress.unchanged}}}'


def delete_progress_to_json(progress: BulkProgress) -> JsonText:
    """Write what a delete by filter has come to."""
    return f'{{"matched":{progress.matched},"deleted":{progress.done},"unchanged":{progress.unchanged}}}'


def progress_from_json(text: JsonText) -> BulkProgress:
    """Read what a cancel or a delete by filter has come to."""
    fields = read_members(text, PROGRESS)
    return BulkProgress(fields.get("matched", 0), fields.get("done", 0), fields.get("unchanged", 0))


def list_params_from_json(params: Params) -> ListParams:
    """Read the parameters of runs/list."""
    return validated(ListParams, known_members(params, LIST))


def list_params_to_json(params: ListParams) -> JsonText:
    """Write the parameters of runs/list; members that hold their default are left out."""
    parts = [] if params.filter == RunFilter() else [f'"filter":{run_filter_to_json(params.filter)}']
    if params.page_size:
        parts.append(f'"pageSize":{params.page_size}')
    if params.page_token:
        parts.append(f'"pageToken":{quote(params.page_token)}')
    if params.order is not RunOrder.NEWEST_FIRST:
        parts.append(f'"order":"{params.order.value}"')
    if params.include_total:
        parts.append('"includeTotal":true')
    return write_object(parts, {})


def end_of_run_list(page: RunList) -> JsonText:
    """What stands in a page of runs after the entries of `runs`; before them stands `{"runs":[`."""
    token = f',"nextPageToken":{quote(page.next_page_token)}' if page.next_page_token else ""
    total = "" if page.total_size is None else f',"totalSize":{page.total_size}'
    return f"]{token}{total}}}"


def run_list_from_json(text: JsonText) -> RunList:
    """Read a page of runs in any dialect."""
    entries, page = run_list_entries(text)
    return replace(page, runs=list(map(run_status_from_json, entries)))


def run_list_entries(text: JsonText) -> tuple[list[JsonText], RunList]:
    """The entries of a page of runs as they come, since there may be many, and the page without them."""
    given = members_of(text)
    total = given.get("totalSize", "null")
    token = given.get("nextPageToken", "null")
    page = RunList(
        [],
        "" if token == "null" else string(token, "next_page_token"),
        None if total == "null" else integer(total, "total_size"),
    )
    return elements(given.get("runs", "null"), "runs"), page


def known_members(params: Params, known: Members) -> dict[str, Any]:
    """The fields of parameters.

    Raises InvalidParams if they have a member that is not known, and TooLarge if one is longer than MAX_PARAMETER.
    """
    if isinstance(params, dict) and any(len(text) > MAX_PARAMETER for text in params.values()):
        raise TooLarge(f"a parameter of this method has at most {MAX_PARAMETER >> 10} KiB")
    fields = read_params(params, known)
    for name in fields.pop("extensions", ()):
        if name != META:
            raise InvalidParams.field(GivenName(shortened(name)), description="not a parameter of this method")
    return fields


def _names_many(fields: dict[str, Any]) -> bool:
    """Whether parameters name the runs that match a filter. Raises InvalidParams if they name one run as well."""
    if "filter" not in fields and "run_id" not in fields:
        raise InvalidParams.field("run_id", description="is needed, or a filter")
    if "filter" in fields and "run_id" in fields:
        raise InvalidParams.field("filter", description="not together with a run id")
    return "filter" in fields


def _which(params: CancelParams | CancelRunsParams | DeleteParams | DeleteRunsParams) -> JsonText:
    if isinstance(params, CancelRunsParams | DeleteRunsParams):
        return f'"filter":{run_filter_to_json(params.filter)}'
    return f'"runId":{quote(params.run_id)}'


def _order(text: JsonText, *path: str | int) -> RunOrder:
    order = _ORDERS.get(string(text, *path))
    if order is None:
        raise InvalidParams.field(*path, description="expected 'newestFirst' or 'oldestFirst'")
    return order


CANCEL: Members = {
    "runId": Member("run_id", string),
    "filter": Member("filter", run_filter_from_json),
    "reason": Member("reason", optional_text),
    "wait": Member("wait", boolean),
    "timeoutSecs": Member("timeout", seconds_from_json),
}
DELETE: Members = {
    "runId": Member("run_id", string),
    "filter": Member("filter", run_filter_from_json),
    "cancel": Member("cancel", boolean),
}
LIST: Members = {
    "filter": Member("filter", run_filter_from_json),
    "pageSize": Member("page_size", integer),
    "pageToken": Member("page_token", string),
    "order": Member("order", _order, spellings=tuple(_ORDERS)),
    "includeTotal": Member("include_total", boolean),
}
PROGRESS: Members = {
    "matched": Member("matched", integer),
    "cancelled": Member("done", integer),
    "deleted": Member("done", integer),
    "unchanged": Member("unchanged", integer),
}

CONTROL_MEMBERS = frozenset({*CANCEL, *DELETE, *LIST})
"""The parameters of these methods."""
