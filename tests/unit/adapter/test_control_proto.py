from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapter import control_proto
from gateway.core.control import BulkProgress, CancelParams, CancelRunsParams, DeleteParams, ListParams, RunList
from gateway.core.errors import InvalidParams
from gateway.core.model import ItemStatistics, RunState, RunStatus
from runs.v1 import runs_pb2
from tests.support import control_messages as messages

REQUESTS: dict[str, Any] = {
    "cancel_params": (messages.cancel_params, runs_pb2.CancelRunRequest),
    "delete_params": (messages.delete_params, runs_pb2.DeleteRunRequest),
    "cancel_runs_params": (messages.cancel_runs_params, runs_pb2.CancelRunsRequest),
    "delete_runs_params": (messages.delete_runs_params, runs_pb2.DeleteRunsRequest),
    "list_params": (messages.list_params, runs_pb2.ListRunsRequest),
    "cancel_progress": (messages.progress, runs_pb2.CancelRunsResponse),
    "delete_progress": (messages.progress, runs_pb2.DeleteRunsResponse),
}


@pytest.mark.parametrize("name", REQUESTS)
@given(st.data())
def test_nothing_is_lost_on_the_wire(name: str, data: Any) -> None:
    strategy, kind = REQUESTS[name]
    message = data.draw(strategy)
    sent = getattr(control_proto, f"{name}_to_proto")(message).SerializeToString()
    assert getattr(control_proto, f"{name}_from_proto")(kind.FromString(sent)) == message


@settings(max_examples=20)
@given(messages.run_lists)
def test_a_page_of_runs_is_written_in_parts(page: RunList) -> None:
    parts = list(control_proto.run_list_parts(page))
    assert len(parts) <= len(page.runs) + 1
    assert control_proto.run_list_from_proto(runs_pb2.ListRunsResponse.FromString(b"".join(parts))) == page


def test_a_large_page_has_no_part_that_takes_long() -> None:
    status = RunStatus(
        run_id="00000000-0000-4000-8000-000000000000",
        flow_id="sha256:" + "0" * 64,
        status=RunState.PENDING,
        items=ItemStatistics(total=1, pending=1),
        created_at=0,
        labels={f"{index:0255}": "x" * 255 for index in range(32)},
    )
    parts = list(control_proto.run_list_parts(RunList([status] * 1_000, "next")))
    assert max(map(len, parts)) < 64 << 10


def test_an_empty_request_means_the_defaults() -> None:
    assert control_proto.list_params_from_proto(runs_pb2.ListRunsRequest()) == ListParams()
    run = runs_pb2.CancelRunRequest(run_id="run")
    assert control_proto.cancel_params_from_proto(run) == CancelParams(run_id="run")
    every = runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter())
    assert control_proto.cancel_runs_params_from_proto(every) == CancelRunsParams(filter=ListParams().filter)
    assert control_proto.delete_params_from_proto(runs_pb2.DeleteRunRequest(run_id="r")) == DeleteParams(run_id="r")
    assert control_proto.cancel_progress_from_proto(runs_pb2.CancelRunsResponse()) == BulkProgress(0, 0, 0)


BAD: list[tuple[str, Any, str]] = [
    ("cancel_params", runs_pb2.CancelRunRequest(), "run_id"),
    ("cancel_params", runs_pb2.CancelRunRequest(run_id="run", reason="x" * 1_001), "reason"),
    ("cancel_params", runs_pb2.CancelRunRequest(run_id="run", timeout=Duration(seconds=-1)), "timeout"),
    ("cancel_params", runs_pb2.CancelRunRequest(run_id="run", timeout=Duration(seconds=2**62)), "timeout"),
    ("delete_params", runs_pb2.DeleteRunRequest(cancel=True), "run_id"),
    ("cancel_runs_params", runs_pb2.CancelRunsRequest(), "filter"),
    ("cancel_runs_params", runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter(), reason="x" * 1_001), "reason"),
    ("delete_runs_params", runs_pb2.DeleteRunsRequest(cancel=True), "filter"),
    ("delete_runs_params", runs_pb2.DeleteRunsRequest(filter=runs_pb2.RunFilter(flow_ids=["x"])), "filter.flow_ids[0]"),
    ("list_params", runs_pb2.ListRunsRequest(page_size=-1), "page_size"),
    ("list_params", runs_pb2.ListRunsRequest(order=7), "order"),  # type: ignore[arg-type]
    (
        "list_params",
        runs_pb2.ListRunsRequest(filter=runs_pb2.RunFilter(states=[9])),  # type: ignore[list-item]
        "filter.states[0]",
    ),
    (
        "list_params",
        runs_pb2.ListRunsRequest(filter=runs_pb2.RunFilter(states=[runs_pb2.RUN_STATE_FAILED] * 101)),
        "filter.states",
    ),
    (
        "list_params",
        runs_pb2.ListRunsRequest(filter=runs_pb2.RunFilter(flow_ids=["0" * 64] * 101)),
        "filter.flow_ids",
    ),
    (
        "list_params",
        runs_pb2.ListRunsRequest(filter=runs_pb2.RunFilter(labels={str(index): "" for index in range(33)})),
        "filter.labels",
    ),
    ("list_params", runs_pb2.ListRunsRequest(filter=runs_pb2.RunFilter(flow_label="a*b")), "filter.flow_label"),
]


@pytest.mark.parametrize(("name", "message", "path"), BAD)
def test_what_breaks_a_rule_is_named(name: str, message: Any, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        getattr(control_proto, f"{name}_from_proto")(message)
    assert [str(violation).partition(": ")[0] for violation in caught.value.violations] == [path]
