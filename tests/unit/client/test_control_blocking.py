"""Runs that are cancelled and deleted, against a channel whose other end is the test."""

import queue
from collections.abc import Iterator

import pytest

from gateway.adapter.status_proto import run_status_to_proto
from gateway.client import (
    BulkProgress,
    InvalidParams,
    ItemStatistics,
    RunFilter,
    RunNotEnded,
    RunNotFound,
    RunsClient,
    RunState,
    Unavailable,
    Unsupported,
)
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


def cancelled() -> runs_pb2.CancelRunResponse:
    items = ItemStatistics(total=1, cancelled=1)
    run = RunStatus(run_id=RUN_ID, flow_id="f", status=RunState.CANCELLED, items=items, created_at=0)
    return runs_pb2.CancelRunResponse(run=run_status_to_proto(run))


def test_a_cancel_is_safe_to_repeat(server: ChannelServer, client: RunsClient) -> None:
    cancel = server.call(lambda: client.cancel(RUN_ID, reason="late"))
    for ends in (CUT, ending(Unavailable("stopping"))):
        first, rpc = server.unary("CancelRun")
        rpc.terminate(None, *ends)
    again, rpc = server.unary("CancelRun")
    assert again == first == runs_pb2.CancelRunRequest(run_id=RUN_ID, reason="late")
    rpc.terminate(cancelled(), *OK)
    assert cancel.result().status is RunState.CANCELLED


def test_a_cancel_that_waits_waits_for_the_time_that_is_left(server: ChannelServer, client: RunsClient) -> None:
    cancel = server.call(lambda: client.cancel(RUN_ID, wait=True, timeout=1_000))
    left = []
    for ends in (CUT, CUT):
        request, rpc = server.unary("CancelRun")
        assert request.wait
        left.append(request.timeout.ToNanoseconds())
        rpc.terminate(None, *ends)
    request, rpc = server.unary("CancelRun")
    left.append(request.timeout.ToNanoseconds())
    rpc.terminate(cancelled(), *OK)
    cancel.result()
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == len(left)


@pytest.mark.parametrize("error", [RunNotFound("gone"), Unsupported("no")])
def test_a_cancel_that_is_refused_is_not_repeated(
    error: RunNotFound | Unsupported, server: ChannelServer, client: RunsClient
) -> None:
    cancel = server.call(lambda: client.cancel(RUN_ID))
    _, rpc = server.unary("CancelRun")
    rpc.terminate(None, *ending(error))
    with pytest.raises(type(error)):
        cancel.result()


def test_a_repeated_delete_that_finds_no_run_has_deleted_it(server: ChannelServer, client: RunsClient) -> None:
    delete = server.call(lambda: client.delete(RUN_ID, cancel=True))
    request, rpc = server.unary("DeleteRun")
    assert request == runs_pb2.DeleteRunRequest(run_id=RUN_ID, cancel=True)
    rpc.terminate(None, *CUT)
    _, rpc = server.unary("DeleteRun")
    rpc.terminate(None, *ending(RunNotFound("gone")))
    assert delete.result() is None


@pytest.mark.parametrize("error", [RunNotFound("gone"), RunNotEnded("running")])
def test_the_first_answer_to_a_delete_counts(
    error: RunNotFound | RunNotEnded, server: ChannelServer, client: RunsClient
) -> None:
    delete = server.call(lambda: client.delete(RUN_ID))
    _, rpc = server.unary("DeleteRun")
    rpc.terminate(None, *ending(error))
    with pytest.raises(type(error)):
        delete.result()


def test_a_call_for_many_runs_is_made_again_before_it_has_told_anything(
    server: ChannelServer, client: RunsClient
) -> None:
    wanted = RunFilter(labels={"team": "a"})
    progress = server.call(lambda: list(client.cancel_many(wanted, reason="late")))
    first, rpc = server.stream("CancelRuns")
    rpc.terminate(*CUT)
    request, rpc = server.stream("CancelRuns")
    assert request == first
    assert request == runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter(labels={"team": "a"}), reason="late")
    rpc.send_response(runs_pb2.CancelRunsResponse(matched=3))
    rpc.send_response(runs_pb2.CancelRunsResponse(matched=3, cancelled=2, unchanged=1))
    rpc.terminate(*OK)
    assert progress.result() == [BulkProgress(3, 0, 0), BulkProgress(3, 2, 1)]


def test_a_call_for_many_runs_that_is_cut_later_is_not(server: ChannelServer, client: RunsClient) -> None:
    seen = queue.SimpleQueue[BulkProgress]()

    def delete() -> None:
        for each in client.delete_many(RunFilter(), cancel=True):
            seen.put(each)

    progress = server.call(delete)
    request, rpc = server.stream("DeleteRuns")
    assert request == runs_pb2.DeleteRunsRequest(filter=runs_pb2.RunFilter(), cancel=True)
    rpc.send_response(runs_pb2.DeleteRunsResponse(matched=3, deleted=1))
    assert seen.get() == BulkProgress(3, 1, 0)
    rpc.terminate(*CUT)
    with pytest.raises(Unavailable):
        progress.result()


def test_filters_that_are_not_valid_are_refused_at_once(client: RunsClient) -> None:
    with pytest.raises(InvalidParams):
        client.cancel_many(RunFilter(root_run_id="x"))
