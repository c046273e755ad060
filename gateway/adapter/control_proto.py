"""Cancelling, listing and deleting runs: parameters and answers <-> protobuf messages.

Readers raise InvalidParams with the path of the field that breaks its rule; writers assume what the model promises.
"""

from collections.abc import Iterator
from typing import Any

from gateway.adapter.filters_proto import run_filter_from_proto, run_filter_to_proto
from gateway.adapter.proto_fields import JSON, read_seconds, to_duration, unknown_number
from gateway.adapter.status_proto import run_status_from_proto, set_run_status
from gateway.core.control import (
    BulkProgress,
    CancelParams,
    CancelRunsParams,
    DeleteParams,
    DeleteRunsParams,
    ListParams,
    RunList,
)
from gateway.core.errors import InvalidParams
from gateway.core.page_sizes import run_bytes, slices
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.validation import validated
from runs.v1 import runs_pb2

_ORDERS = {
    runs_pb2.RUN_ORDER_UNSPECIFIED: RunOrder.NEWEST_FIRST,
    runs_pb2.RUN_ORDER_NEWEST_FIRST: RunOrder.NEWEST_FIRST,
    runs_pb2.RUN_ORDER_OLDEST_FIRST: RunOrder.OLDEST_FIRST,
}
_ORDER_NUMBERS = {order: number for number, order in _ORDERS.items()}


def cancel_params_from_proto(message: runs_pb2.CancelRunRequest) -> CancelParams:
    """Read the parameters of a cancel."""
    fields: dict[str, Any] = {"run_id": message.run_id, "reason": message.reason or None, "wait": message.wait}
    if message.HasField("timeout"):
        fields["timeout"] = read_seconds(message.timeout, "timeout")
    return validated(CancelParams, fields)


def cancel_params_to_proto(params: CancelParams) -> runs_pb2.CancelRunRequest:
    """Write the parameters of a cancel."""
    return runs_pb2.CancelRunRequest(
        run_id=params.run_id,
        reason=params.reason or "",
        wait=params.wait,
        timeout=None if params.timeout is None else to_duration(params.timeout),
    )


def delete_params_from_proto(message: runs_pb2.DeleteRunRequest) -> DeleteParams:
    """Read the parameters of a delete."""
    return validated(DeleteParams, {"run_id": message.run_id, "cancel": message.cancel})


def delete_params_to_proto(params: DeleteParams) -> runs_pb2.DeleteRunRequest:
    """Write the parameters of a delete."""
    return runs_pb2.DeleteRunRequest(run_id=params.run_id, cancel=params.cancel)


def cancel_runs_params_from_proto(message: runs_pb2.CancelRunsRequest) -> CancelRunsParams:
    """Read the parameters of a cancel of many runs."""
    return validated(CancelRunsParams, {"filter": _needed_filter(message), "reason": message.reason or None})


def cancel_runs_params_to_proto(params: CancelRunsParams) -> runs_pb2.CancelRunsRequest:
    """Write the parameters of a cancel of many runs."""
    return runs_pb2.CancelRunsRequest(filter=run_filter_to_proto(params.filter), reason=params.reason or "")


def delete_runs_params_from_proto(message: runs_pb2.DeleteRunsRequest) -> DeleteRunsParams:
    """Read the parameters of a delete of many runs."""
    return validated(DeleteRunsParams, {"filter": _needed_filter(message), "cancel": message.cancel})


def delete_runs_params_to_proto(params: DeleteRunsParams) -> runs_pb2.DeleteRunsRequest:
    """Write the parameters of a delete of many runs."""
    return runs_pb2.DeleteRunsRequest(filter=run_filter_to_proto(params.filter), cancel=params.cancel)


def cancel_progress_to_proto(progress: BulkProgress) -> runs_pb2.CancelRunsResponse:
    """Write how far a cancel of many runs has come."""
    return runs_pb2.CancelRunsResponse(matched=progress.matched, cancelled=progress.done, unchanged=progress.unchanged)


def cancel_progress_from_proto(message: runs_pb2.CancelRunsResponse) -> BulkProgress:
    """Read how far a cancel of many runs has come."""
    return BulkProgress(message.matched, message.cancelled, message.unchanged)


def delete_progress_to_proto(progress: BulkProgress) -> runs_pb2.DeleteRunsResponse:
    """Write how far a delete of many runs has come."""
    return runs_pb2.DeleteRunsResponse(matched=progress.matched, deleted=progress.done, unchanged=progress.unchanged)


def delete_progress_from_proto(message: runs_pb2.DeleteRunsResponse) -> BulkProgress:
    """Read how far a delete of many runs has come."""
    return BulkProgress(message.matched, message.deleted, message.unchanged)


def list_params_from_proto(message: runs_pb2.ListRunsRequest) -> ListParams:
    """Read the parameters of a list."""
    order = _ORDERS.get(message.order)
    if order is None:
        raise unknown_number("order")
    fields: dict[str, Any] = {
        "page_size": message.page_size,
        "page_token": message.page_token,
        "order": order,
        "include_total": message.include_total,
    }
    if message.HasField("filter"):
        fields["filter"] = run_filter_from_proto(message.filter, "filter")
    return validated(ListParams, fields)


def list_params_to_proto(params: ListParams) -> runs_pb2.ListRunsRequest:
    """Write the parameters of a list."""
    return runs_pb2.ListRunsRequest(
        filter=run_filter_to_proto(params.filter),
        page_size=params.page_size,
        page_token=params.page_token,
        order=_ORDER_NUMBERS[params.order],
        include_total=params.include_total,
    )


def run_list_parts(page: RunList) -> Iterator[bytes]:
    """Write a page of runs as a serialized ListRunsResponse, in parts that take little time each."""
    for runs in slices(page.runs, run_bytes):
        message = runs_pb2.ListRunsResponse()
        for run in runs:
            set_run_status(message.runs.add(), run, JSON)
        yield message.SerializeToString()
    end = runs_pb2.ListRunsResponse(next_page_token=page.next_page_token, total_size=page.total_size)
    yield end.SerializeToString()


def run_list_from_proto(message: runs_pb2.ListRunsResponse) -> RunList:
    """Read a page of runs."""
    return RunList(
        [run_status_from_proto(run, with_results=False) for run in message.runs],
        message.next_page_token,
        message.total_size if message.HasField("total_size") else None,
    )


def _needed_filter(message: runs_pb2.CancelRunsRequest | runs_pb2.DeleteRunsRequest) -> RunFilter:
    if not message.HasField("filter"):
        raise InvalidParams.field("filter", description="is needed; an empty one means all runs")
    return run_filter_from_proto(message.filter, "filter")
