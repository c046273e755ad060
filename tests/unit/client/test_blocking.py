"""The blocking client against a channel whose other end is the test."""

import queue
import threading
from collections.abc import Iterator

import grpc
import pytest

from gateway.adapter.grpc_status import to_status
from gateway.adapter.status_proto import run_status_to_proto
from gateway.client import (
    AsyncRunsClient,
    Internal,
    InvalidParams,
    ItemStatistics,
    RunEnded,
    RunNotFound,
    RunsClient,
    RunState,
    RunUpdate,
    Unavailable,
)
from gateway.core.model import ItemResult, RunStatus
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.client_channel import CUT, OK, ChannelServer, ending

RUN_ID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client made; they take no time."""
    pauses: list[float] = []
    monkeypatch.setattr("gateway.client.pauses_blocking.Pauses.pause", lambda _, seconds: pauses.append(seconds))
    return pauses


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    server = ChannelServer()
    yield server
    server.close()


@pytest.fixture
def client(server: ChannelServer, pauses: list[float]) -> Iterator[RunsClient]:
    with RunsClient(server.channel) as client:
        yield client


def status(state: RunState = RunState.RUNNING, *results: int) -> RunStatus:
    return RunStatus(
        run_id=RUN_ID,
        flow_id="f",
        status=state,
        items=ItemStatistics(total=2, running=2),
        created_at=0,
        results=[ItemResult(item_index=index, status=RunState.SUCCESS, value=str(index)) for index in results],
    )


def message(revision: int, state: RunState = RunState.RUNNING, *results: int) -> runs_pb2.GetRunResponse:
    run = run_status_to_proto(status(state, *results))
    return runs_pb2.GetRunResponse(run=run, revision=revision, resume_token=b"%d" % revision)


def submitted() -> runs_pb2.SubmitRunResponse:
    return runs_pb2.SubmitRunResponse(run=run_status_to_proto(status()))


def test_a_flow_is_put(server: ChannelServer, client: RunsClient) -> None:
    put = server.call(lambda: client.put_flow({"steps": []}))
    request, rpc = server.unary("PutBlob")
    assert (request.json, request.type) == ('{"steps":[]}', blobs_pb2.BLOB_TYPE_FLOW)
    rpc.terminate(blobs_pb2.PutBlobResponse(blob_id="sha256:f"), *OK)
    assert put.result() == "sha256:f"


def test_a_submit_is_repeated_with_the_same_key(server: ChannelServer, client: RunsClient, pauses: list[float]) -> None:
    submit = server.call(lambda: client.submit("f", [1, {"a": "ü"}]))
    keys = set()
    for failure in (CUT, ending(Unavailable("stopping", retry_after=2.0)), OK):
        request, rpc = server.unary("SubmitRun")
        keys.add(request.idempotency_key)
        assert [value.json for value in request.inputs] == ["1", '{"a":"ü"}']
        rpc.terminate(submitted(), *failure)
    assert submit.result().run_id == RUN_ID
    assert len(keys) == 1
    assert len(pauses) == 2
    assert pauses[1] >= 2.0


def test_what_is_wrong_with_a_call_is_raised_as_it_was_sent(
    server: ChannelServer, client: RunsClient, pauses: list[float]
) -> None:
    submit = server.call(lambda: client.submit("f", []))
    _, rpc = server.unary("SubmitRun")
    rpc.terminate(submitted(), *ending(InvalidParams.field("flow_id", description="no")))
    error = submit.exception()
    assert isinstance(error, InvalidParams)
    assert error.violations[0].path == ("flow_id",)
    assert pauses == []


def test_a_call_that_takes_too_long_is_a_timeout(server: ChannelServer, client: RunsClient) -> None:
    submit = server.call(lambda: client.submit("f", [], timeout=0))
    _, rpc = server.unary("SubmitRun")
    rpc.terminate(submitted(), (), grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    assert isinstance(submit.exception(), TimeoutError)


def test_a_call_that_takes_too_long_for_a_proxy_is_made_again(server: ChannelServer, client: RunsClient) -> None:
    submit = server.call(lambda: client.submit("f", []))
    for ends in (((), grpc.StatusCode.DEADLINE_EXCEEDED, "upstream request timeout"), OK):
        _, rpc = server.unary("SubmitRun")
        rpc.terminate(submitted(), *ends)
    assert submit.result().run_id == RUN_ID


def test_without_patience_a_call_is_made_once(server: ChannelServer, pauses: list[float]) -> None:
    client = RunsClient(server.channel, retry_for=0)
    submit = server.call(lambda: client.submit("f", []))
    _, rpc = server.unary("SubmitRun")
    rpc.terminate(submitted(), *CUT)
    assert isinstance(submit.exception(), Unavailable)
    assert pauses == []


def test_an_error_after_the_submit_names_the_run(server: ChannelServer, client: RunsClient) -> None:
    submit = server.call(lambda: client.submit_and_wait("f", [1]))
    _, rpc = server.unary("SubmitRun")
    rpc.terminate(submitted(), *OK)
    _, rpc = server.stream()
    rpc.terminate(*ending(Internal("error id 7")))
    error = submit.exception()
    assert isinstance(error, Internal)
    assert error.message == str(error) == f"error id 7 (run {RUN_ID})"


def test_a_state_is_folded_from_a_stream(server: ChannelServer, client: RunsClient) -> None:
    get = server.call(lambda: client.get(RUN_ID, include_results=True))
    _, rpc = server.stream()
    rpc.terminate(*CUT)
    request, rpc = server.stream()
    assert (request.wait, request.include_results) == (False, True)
    rpc.send_response(message(1, RunState.RUNNING, 0))
    rpc.send_response(message(1, RunState.RUNNING, 1))
    rpc.terminate(*OK)
    assert [result.value for result in get.result().results or []] == [0, 1]


def test_watching_goes_on_with_the_token_and_says_so(
    server: ChannelServer, client: RunsClient, pauses: list[float]
) -> None:
    seen = queue.SimpleQueue[RunUpdate]()

    def watch_and_tell() -> list[RunUpdate]:
        updates = []
        for update in client.watch(RUN_ID, include_results=True, heartbeat_interval=10):
            updates.append(update)
            seen.put(update)
        return updates

    watch = server.call(watch_and_tell)
    request, rpc = server.stream()
    assert (request.wait, request.heartbeat_interval.seconds) == (True, 10)
    for response in (message(1), message(2, RunState.RUNNING, 0)):
        rpc.send_response(response)
        seen.get()  # This channel, unlike a real one, drops what has not been read when a call fails.
    rpc.terminate(*CUT)
    request, rpc = server.stream()
    assert request.resume_token == b"2"
    rpc.send_response(message(3, RunState.SUCCESS, 1))
    rpc.terminate(*OK)
    updates = watch.result()
    assert [update.reconnected for update in updates] == [False, False, True]
    assert [result.item_index for update in updates for result in update.results] == [0, 1]
    assert updates[-1].run.finished
    assert len(pauses) == 1


def test_a_silent_connection_is_given_up(
    server: ChannelServer, client: RunsClient, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr("gateway.client.streams.LEAST_READ_TIMEOUT", 0.3)
    watch = server.call(lambda: list(client.watch(RUN_ID, heartbeat_interval=0.1)))
    _, silent = server.stream()
    silent.send_response(message(1))
    request, rpc = server.stream()
    assert request.resume_token == b"1"
    rpc.send_response(message(2, RunState.SUCCESS))
    rpc.terminate(*OK)
    assert watch.result()[-1].run.finished


def test_leaving_an_iterator_cancels_its_call(server: ChannelServer, client: RunsClient) -> None:
    left = threading.Event()

    def leave() -> None:
        updates = client.watch(RUN_ID)
        next(updates)
        updates.close()
        left.set()

    leaving = server.call(leave)
    _, rpc = server.stream()
    rpc.send_response(message(1))
    leaving.result()
    rpc.cancelled()
    assert left.is_set()


def test_parameters_are_checked_when_the_iterator_is_made(client: RunsClient) -> None:
    with pytest.raises(InvalidParams, match="heartbeat_interval"):
        client.watch(RUN_ID, heartbeat_interval=0.01)
    with pytest.raises(InvalidParams, match="timeout"):
        client.watch_many([RUN_ID], timeout=-1.0)


def test_a_run_among_many_that_is_refused_here_is_not_asked_for(server: ChannelServer, client: RunsClient) -> None:
    [(run_id, error)] = client.watch_many([""])
    assert run_id == ""
    assert isinstance(error, InvalidParams)
    watch = server.call(lambda: list(client.watch_many(["", "b"])))
    [request], rpc = server.watch(1)
    assert request.add.run_id == "b"
    rpc.send_response(runs_pb2.WatchRunsResponse(run_id="b", update=message(1, RunState.SUCCESS)))
    rpc.send_response(runs_pb2.WatchRunsResponse(run_id="b", ended=runs_pb2.WatchEnded()))
    rpc.terminate(*OK)
    assert [(run_id, type(event)) for run_id, event in watch.result()] == [
        ("", InvalidParams),
        ("b", RunUpdate),
        ("b", RunEnded),
    ]


def test_many_runs_are_followed_on_one_stream(server: ChannelServer, client: RunsClient) -> None:
    watch = server.call(lambda: list(client.watch_many(["a", "b"])))
    requests, rpc = server.watch(2)
    assert [request.add.run_id for request in requests] == ["a", "b"]
    code, text, details = to_status(RunNotFound("none"))
    error = runs_pb2.WatchError(code=code.value[0], message=text, status_details=details)
    rpc.send_response(runs_pb2.WatchRunsResponse(run_id="a", error=error))
    rpc.send_response(runs_pb2.WatchRunsResponse(run_id="b", update=message(1, RunState.SUCCESS)))
    rpc.send_response(runs_pb2.WatchRunsResponse(run_id="b", ended=runs_pb2.WatchEnded()))
    rpc.terminate(*OK)
    events = watch.result()
    assert [(run_id, type(event)) for run_id, event in events] == [
        ("a", RunNotFound),
        ("b", RunUpdate),
        ("b", RunEnded),
    ]


def test_a_closed_client_makes_no_calls(server: ChannelServer) -> None:
    client = RunsClient(server.channel)
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.get(RUN_ID)


def test_a_channel_that_is_somebody_elses_stays_open(server: ChannelServer) -> None:
    with RunsClient(server.channel) as first:
        pass
    assert first is not None
    with RunsClient(server.channel) as second:
        get = server.call(lambda: second.get(RUN_ID))
        _, rpc = server.stream()
        rpc.send_response(message(1))
        rpc.terminate(*OK)
        assert get.result().status is RunState.RUNNING


def test_both_clients_take_the_same_parameters() -> None:
    for name in ("put_flow", "submit", "submit_and_wait", "get", "wait", "watch", "results", "watch_many"):
        assert getattr(RunsClient, name).__kwdefaults__ == getattr(AsyncRunsClient, name).__kwdefaults__
