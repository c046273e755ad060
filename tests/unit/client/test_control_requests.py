"""Requests that list and end runs, and calls that concern many runs."""

import pytest

from gateway.client import BulkProgress, InvalidParams, RunFilter, RunOrder, RunState
from gateway.client.control_requests import (
    BulkCall,
    cancel_many_request,
    cancel_request,
    delete_many_request,
    delete_request,
    items_request,
    list_request,
    runs_page,
    set_timeout,
)
from gateway.client.outage import Outage
from gateway.core.errors import Unavailable, Unsupported
from runs.v1 import runs_pb2

RUN = "00000000-0000-4000-8000-00000000000a"


def test_a_cancel_says_all_that_was_given() -> None:
    request = cancel_request(RUN, "late", wait=True, timeout=1.5)
    assert (request.run_id, request.reason, request.wait, request.timeout.nanos) == (RUN, "late", True, 500_000_000)
    set_timeout(request, None)
    assert request == runs_pb2.CancelRunRequest(run_id=RUN, reason="late", wait=True)
    assert cancel_request(RUN, None) == runs_pb2.CancelRunRequest(run_id=RUN)


def test_calls_for_many_runs_always_have_a_filter() -> None:
    """A request without one is refused, so that nobody ends all runs by a slip."""
    assert cancel_many_request(RunFilter(), None).HasField("filter")
    assert delete_many_request(RunFilter(), cancel=True) == runs_pb2.DeleteRunsRequest(
        filter=runs_pb2.RunFilter(), cancel=True
    )


def test_pages_are_asked_for_by_filter_order_size_and_token() -> None:
    request = list_request(RunFilter(roots_only=True), RunOrder.OLDEST_FIRST, 7, "t", include_total=True)
    assert request == runs_pb2.ListRunsRequest(
        filter=runs_pb2.RunFilter(roots_only=True),
        page_size=7,
        page_token="t",
        order=runs_pb2.RUN_ORDER_OLDEST_FIRST,
        include_total=True,
    )
    assert list_request(None, RunOrder.NEWEST_FIRST, 2**40).page_size == 2**31 - 1
    items = items_request(RUN, [RunState.FAILED], 0, include_inputs=True)
    assert items.include_inputs
    assert list(items.states) == [runs_pb2.RUN_STATE_FAILED]


@pytest.mark.parametrize("total", [None, 0, 5])
def test_a_page_tells_whether_all_runs_were_counted(total: int | None) -> None:
    assert runs_page(runs_pb2.ListRunsResponse(next_page_token="n", total_size=total)).total_size == total


@pytest.mark.parametrize(
    "make",
    [
        lambda: cancel_request("", None),
        lambda: cancel_request(RUN, None, timeout=-1),
        lambda: cancel_request(RUN, None, timeout=float("nan")),
        lambda: cancel_request(RUN, "\ud800"),
        lambda: delete_request("", cancel=False),
        lambda: list_request(None, RunOrder.NEWEST_FIRST, -1),
        lambda: list_request(None, RunOrder.NEWEST_FIRST, 0, "\ud800"),
        lambda: items_request(RUN, [], -1, include_inputs=False),
    ],
)
def test_parameters_that_are_not_valid_are_refused_before_the_call(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidParams):
        make()


def bulk() -> BulkCall:
    return BulkCall(Outage(None, chance=lambda: 1.0))


def test_a_call_for_many_runs_is_made_again_until_it_tells_something() -> None:
    call = bulk()
    assert call.ended(Unavailable("cut")) is not None
    assert call.ended(None) is not None
    with pytest.raises(Unsupported):
        call.ended(Unsupported("no"))
    response = runs_pb2.CancelRunsResponse(matched=3, cancelled=1, unchanged=1)
    assert call.received(response) == BulkProgress(matched=3, done=1, unchanged=1)
    with pytest.raises(Unavailable):
        call.ended(Unavailable("cut"))
    assert call.ended(None) is None
