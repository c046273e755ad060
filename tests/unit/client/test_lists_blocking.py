"""Runs and items that are listed, and sets that are followed, against a channel whose other end is the test."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from gateway.adapter.status_proto import run_status_to_proto
from gateway.client import CaughtUp, ItemStatistics, RunFilter, RunOrder, RunsClient, RunState, Unsupported
from gateway.core.model import RunStatus
from runs.v1 import runs_pb2
from tests.support.client_channel import CUT, OK, ChannelServer, ending

RUN_ID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    server = ChannelServer()
    yield server
    server.close()


@pytest.fixture
def client(server: ChannelServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunsClient]:
    monkeypatch.setattr("gateway.client.pauses_blocking.Pauses.pause", lambda *_: None)
    with RunsClient(server.channel) as client:
        yield client


def page(*names: str, after: str = "", total: int | None = None) -> runs_pb2.ListRunsResponse:
    runs = [
        RunStatus(run_id=name, flow_id="f", status=RunState.RUNNING, items=ItemStatistics(total=0), created_at=0)
        for name in names
    ]
    return runs_pb2.ListRunsResponse(
        runs=[run_status_to_proto(run) for run in runs], next_page_token=after, total_size=total
    )


def test_pages_follow_each_other_and_each_call_may_be_repeated(server: ChannelServer, client: RunsClient) -> None:
    wanted = RunFilter(roots_only=True)
    listed = server.call(lambda: [run.run_id for run in client.runs(wanted, order=RunOrder.OLDEST_FIRST, page_size=2)])
    tokens = []
    for answer in (page("a", "b", after="1"), None, page(after="2"), page("c")):
        request, rpc = server.unary("ListRuns")
        assert (request.filter.roots_only, request.page_size, request.order) == (True, 2, 2)
        tokens.append(request.page_token)
        rpc.terminate(answer, *(CUT if answer is None else OK))
    assert listed.result() == ["a", "b", "c"]
    assert tokens == ["", "1", "1", "2"]


def test_a_page_is_asked_for_when_its_first_run_is_wanted(server: ChannelServer, client: RunsClient) -> None:
    runs = client.runs()
    first = server.call(lambda: next(runs))
    _, rpc = server.unary("ListRuns")
    rpc.terminate(page("a", after="1"), *OK)
    assert first.result().run_id == "a"
    runs.close()


def test_one_page_with_the_number_of_all_runs(server: ChannelServer, client: RunsClient) -> None:
    listed = server.call(lambda: client.runs_page(page_token="1", include_total=True))
    request, rpc = server.unary("ListRuns")
    assert (request.page_token, request.include_total) == ("1", True)
    rpc.terminate(page("a", after="2", total=7), *OK)
    answer = listed.result()
    assert ([run.run_id for run in answer.runs], answer.next_page_token, answer.total_size) == (["a"], "2", 7)


def test_the_items_of_a_run(server: ChannelServer, client: RunsClient) -> None:
    listed = server.call(lambda: list(client.items(RUN_ID, states=[RunState.FAILED], include_inputs=True)))
    failed = runs_pb2.RUN_STATE_FAILED
    for index, token in enumerate(["1", ""]):
        request, rpc = server.unary("ListItems")
        assert (list(request.states), request.include_inputs, request.page_token) == ([failed], True, index * "1")
        item = runs_pb2.Item(item_index=index, status=failed, input=runs_pb2.JsonValue(json="1.0"))
        rpc.terminate(runs_pb2.ListItemsResponse(items=[item], next_page_token=token), *OK)
    assert [(item.item_index, item.input_json) for item in listed.result()] == [(0, "1.0"), (1, "1.0")]


def test_a_set_that_is_cut_goes_on(server: ChannelServer, client: RunsClient) -> None:
    events = client.watch_set(RunFilter(roots_only=True))
    with closing(events):
        first = server.call(lambda: next(events))
        [request], rpc = server.watch()
        assert request.add_set.filter.roots_only
        assert not request.add_set.resume_token
        rpc.send_response(runs_pb2.WatchRunsResponse(caught_up=runs_pb2.CaughtUp(resume_token=b"1")))
        assert first.result() == CaughtUp(b"1")
        second = server.call(lambda: next(events))
        rpc.terminate(*CUT)
        [request], rpc = server.watch()
        assert request.add_set.resume_token == b"1"
        rpc.send_response(runs_pb2.WatchRunsResponse(caught_up=runs_pb2.CaughtUp(resume_token=b"2")))
        assert second.result() == CaughtUp(b"2", reconnected=True)


def test_a_set_that_a_runtime_cannot_follow(server: ChannelServer, client: RunsClient) -> None:
    events = server.call(lambda: list(client.watch_set()))
    _, rpc = server.watch()
    rpc.terminate(*ending(Unsupported("the runtime of this gateway cannot follow sets of runs")))
    with pytest.raises(Unsupported):
        events.result()
