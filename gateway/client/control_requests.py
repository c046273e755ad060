"""The requests of the clients that list and end runs: checked parameters. Nothing here does input or output."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.adapter import control_proto, items_proto
from gateway.adapter.proto_fields import to_duration
from gateway.client.filters import RunFilter, canonical
from gateway.client.items import Item, item
from gateway.client.outage import Outage
from gateway.client.requests import checked
from gateway.client.status import RunStatus, run_status
from gateway.core.control import (
    BulkProgress,
    CancelParams,
    CancelRunsParams,
    DeleteParams,
    DeleteRunsParams,
    ItemsParams,
    ListParams,
)
from gateway.core.errors import Unavailable
from gateway.core.model import RunState
from gateway.core.run_filter import RunOrder
from runs.v1 import runs_pb2

_MAX_SIZE = 2**31 - 1
"""What a field of the contract can hold; far more than a page may have."""


@dataclass(frozen=True)
class RunsPage:
    """A page of a list of runs."""

    runs: list[RunStatus]
    next_page_token: str
    """Names the page that follows; empty if no more runs match."""
    total_size: int | None = None
    """How many runs match; None if it was not asked for."""


class BulkCall:
    """A call that concerns many runs and tells how far it has come. It is made again only while it has told nothing."""

    lasts = True

    def __init__(self, outage: Outage) -> None:
        self._outage = outage
        self._heard = False

    def call_timeout(self) -> float | None:
        """Return how many seconds the call may take; None: no limit."""
        return self._outage.remaining()

    def read_timeout(self) -> float | None:
        """Return how many seconds a message may take: as long as the call."""
        return None

    def received(self, response: runs_pb2.CancelRunsResponse | runs_pb2.DeleteRunsResponse) -> BulkProgress:
        """Return the progress that a message tells."""
        self._heard = True
        if isinstance(response, runs_pb2.CancelRunsResponse):
            return control_proto.cancel_progress_from_proto(response)
        return control_proto.delete_progress_from_proto(response)

    def ended(self, error: Exception | None) -> float | None:
        """Return how many seconds to pause before the call is made again; None: it is complete.

        Raises `error` if the call has told something: by now, runs may match that the caller does not mean.
        """
        if error is None and self._heard:
            return None
        error = error or Unavailable("the gateway has ended the call too early")
        try:
            if self._heard:
                raise error from None
            return self._outage.pause(error)
        finally:
            del error  # It holds this frame.


def cancel_request(
    run_id: str, reason: str | None, *, wait: bool = False, timeout: float | None = None
) -> runs_pb2.CancelRunRequest:
    """Return the request to cancel a run. Raises InvalidParams if a parameter is not valid."""
    fields = {"run_id": run_id, "reason": reason, "wait": wait, "timeout": timeout}
    return control_proto.cancel_params_to_proto(checked(CancelParams, fields))


def set_timeout(request: runs_pb2.CancelRunRequest, seconds: float | None) -> None:
    """Change how many seconds a cancel waits at most; None: no limit."""
    if seconds is None:
        request.ClearField("timeout")
    else:
        request.timeout.CopyFrom(to_duration(seconds))


def cancel_many_request(wanted: RunFilter, reason: str | None) -> runs_pb2.CancelRunsRequest:
    """Return the request to cancel runs. Raises InvalidParams if a parameter is not valid."""
    params = checked(CancelRunsParams, {"filter": canonical(wanted), "reason": reason})
    return control_proto.cancel_runs_params_to_proto(params)


def delete_request(run_id: str, *, cancel: bool) -> runs_pb2.DeleteRunRequest:
    """Return the request to delete a run. Raises InvalidParams if a parameter is not valid."""
    return control_proto.delete_params_to_proto(checked(DeleteParams, {"run_id": run_id, "cancel": cancel}))


def delete_many_request(wanted: RunFilter, *, cancel: bool) -> runs_pb2.DeleteRunsRequest:
    """Return the request to delete runs. Raises InvalidParams if a parameter is not valid."""
    params = checked(DeleteRunsParams, {"filter": canonical(wanted), "cancel": cancel})
    return control_proto.delete_runs_params_to_proto(params)


def list_request(
    wanted: RunFilter | None, order: RunOrder, page_size: int, page_token: str = "", *, include_total: bool = False
) -> runs_pb2.ListRunsRequest:
    """Return the request for a page. Raises InvalidParams if a parameter is not valid."""
    fields = {
        "filter": canonical(wanted),
        "order": order,
        "page_size": min(page_size, _MAX_SIZE),
        "page_token": page_token,
        "include_total": include_total,
    }
    return control_proto.list_params_to_proto(checked(ListParams, fields))


def runs_page(response: runs_pb2.ListRunsResponse) -> RunsPage:
    """Return a page of runs from the answer."""
    page = control_proto.run_list_from_proto(response)
    return RunsPage([run_status(run) for run in page.runs], page.next_page_token, page.total_size)


def items_request(
    run_id: str, states: Iterable[RunState], page_size: int, *, include_inputs: bool
) -> runs_pb2.ListItemsRequest:
    """Return the request for the first items. Raises InvalidParams if a parameter is not valid."""
    fields = {
        "run_id": run_id,
        "states": tuple(states),
        "page_size": min(page_size, _MAX_SIZE),
        "include_inputs": include_inputs,
    }
    return items_proto.items_params_to_proto(checked(ItemsParams, fields))


def items_of(response: runs_pb2.ListItemsResponse) -> list[Item]:
    """Return a page of items from the answer."""
    return [item(each) for each in items_proto.item_list_from_proto(response).items]
