"""Streams that are cut, silent, repeated or ended: what is asked for next, and what comes of it all."""

from collections.abc import Iterable

import pytest

from gateway.adapter.grpc_status import to_status
from gateway.adapter.status_proto import run_status_to_proto
from gateway.client.outage import ANSWER_SECONDS, EARLY_SECONDS, Outage
from gateway.client.requests import wait_params
from gateway.client.status import RunEnded, RunUpdate
from gateway.client.streams import (
    LEAST_READ_TIMEOUT,
    STABLE_SECONDS,
    Fold,
    ManyRunsStream,
    RunStream,
    Unseen,
)
from gateway.core.errors import GatewayError, Internal, InvalidRunId, RunNotFound, Unavailable
from gateway.core.model import GetParams, ItemResult, ItemStatistics, ResultOrder, RunState, RunStatus
from runs.v1 import runs_pb2


class Clock:
    """A time that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def message(
    sent: int, results: Iterable[int] = (), *, total: int = 3, run_id: str = "r", heartbeat: bool = False
) -> runs_pb2.GetRunResponse:
    """What a gateway says when so many results have been sent after this message; the token is their number."""
    state = RunState.SUCCESS if sent == total else RunState.RUNNING
    items = ItemStatistics(total=total, running=total - sent, success=sent)
    found = [ItemResult(item_index=index, status=RunState.SUCCESS, value=str(index)) for index in results]
    status = RunStatus(run_id=run_id, flow_id="f", status=state, items=items, created_at=0, results=found)
    run = run_status_to_proto(status)
    return runs_pb2.GetRunResponse(run=run, revision=sent + 1, resume_token=b"%d" % sent, heartbeat=heartbeat)


def one_run(
    *, include_results: bool = True, timeout: float | None = None, retry_for: float | None = None, wait: bool = True
) -> tuple[RunStream, Clock]:
    clock = Clock()
    params = wait_params("r", include_results=include_results, order=ResultOrder.BY_INDEX, timeout=timeout)
    if not wait:
        params = GetParams(run_id="r", include_results=include_results)
    return RunStream(params, outage(clock, retry_for), clock=clock), clock


def outage(clock: Clock, retry_for: float | None = None) -> Outage:
    return Outage(retry_for, clock=clock, chance=lambda: 1.0)


def received(stream: RunStream, response: runs_pb2.GetRunResponse) -> RunUpdate:
    update = stream.received(response)
    assert update is not None
    return update


CUT = Unavailable("cut")


@pytest.mark.parametrize("cut_after", range(4))
def test_wherever_a_stream_is_cut_the_next_one_goes_on(cut_after: int) -> None:
    stream, _ = one_run()
    fold = Fold()
    messages = [message(0), message(1, [0]), message(2, [1]), message(3, [2])]
    assert stream.request().resume_token == b""
    for response in messages[:cut_after]:
        fold.add(received(stream, response))
    assert stream.ended(CUT) is not None
    asked = stream.request().resume_token
    assert asked == (b"%d" % (cut_after - 1) if cut_after else b"")
    updates = [received(stream, response) for response in messages[cut_after:]]
    for update in updates:
        fold.add(update)
    assert [update.reconnected for update in updates] == [True] + [False] * (len(updates) - 1)
    assert stream.ended(None) is None
    assert [result.value for result in fold.status().results or []] == [0, 1, 2]


def test_a_fold_begins_anew_with_a_stream_that_does() -> None:
    stream, _ = one_run()
    fold = Fold()
    fold.add(received(stream, message(2, [0, 1])))
    stream.ended(CUT)
    again = message(3, [0, 1, 2])
    again.restarted = True
    update = received(stream, again)
    fold.add(update)
    assert update.restarted
    assert [result.item_index for result in fold.status().results or []] == [0, 1, 2]


def test_results_that_come_twice_are_given_once() -> None:
    stream, _ = one_run()
    unseen = Unseen()
    batches = [unseen.of(received(stream, message(sent, results))) for sent, results in ((2, [0, 1]), (3, [0, 1, 2]))]
    assert [[result.item_index for result in batch] for batch in batches] == [[0, 1], [2]]


def test_a_fold_without_results_has_none() -> None:
    stream, _ = one_run(include_results=False)
    fold = Fold()
    fold.add(received(stream, message(3)))
    assert fold.status().results is None


def test_a_heartbeat_says_nothing_and_its_token_counts() -> None:
    stream, _ = one_run()
    assert stream.received(message(1, heartbeat=True)) is None
    stream.ended(CUT)
    assert stream.request().resume_token == b"1"


def test_a_finished_run_need_not_be_asked_for_once_more() -> None:
    stream, _ = one_run(include_results=False)
    stream.received(message(3))
    assert stream.ended(CUT) is None


def test_results_of_a_finished_run_may_be_missing_still() -> None:
    stream, _ = one_run()
    stream.received(message(3, [0, 1]))
    assert stream.ended(CUT) is not None


@pytest.mark.parametrize("error", [RunNotFound("none"), InvalidRunId([]), Internal("id 7")])
def test_what_does_not_pass_ends_it(error: Exception) -> None:
    stream, _ = one_run()
    stream.received(message(1))
    with pytest.raises(type(error)):
        stream.ended(error)


def test_an_end_that_comes_too_early_is_a_cut() -> None:
    stream, _ = one_run()
    stream.received(message(1))
    assert stream.ended(None) is not None
    empty, _ = one_run(wait=False)
    assert empty.ended(None) is not None


def test_a_look_at_the_current_state_ends_with_it() -> None:
    stream, _ = one_run(wait=False)
    stream.received(message(1))
    assert stream.ended(None) is None


def test_pauses_grow_while_streams_show_nothing_but_the_known_state() -> None:
    stream, _ = one_run()
    pauses = []
    for _ in range(4):
        stream.request()
        stream.received(message(1))
        pauses.append(stream.ended(CUT))
    assert pauses == [0.1, 0.2, 0.4, 0.8]
    stream.request()
    stream.received(message(2, [1]))
    assert stream.ended(CUT) == 0.1


def test_patience_ends_when_nothing_is_heard() -> None:
    stream, clock = one_run(retry_for=10.0)
    stream.received(message(1))
    stream.ended(CUT)
    clock.now += 10
    with pytest.raises(Unavailable):
        stream.ended(CUT)


def test_each_request_asks_for_the_time_that_is_left() -> None:
    stream, clock = one_run(timeout=30.0)
    assert stream.request().timeout.seconds == 30
    clock.now += 10
    assert stream.request().timeout.seconds == 20
    clock.now += 100
    assert stream.request().timeout.ToNanoseconds() == 0


def test_the_timeout_is_an_end() -> None:
    stream, clock = one_run(timeout=30.0)
    stream.received(message(1))
    clock.now += 29.95
    pause = stream.ended(CUT)
    assert pause is not None
    assert pause == pytest.approx(0.05)
    clock.now += pause
    assert stream.ended(CUT) is None
    assert stream.ended(None) is None, "the gateway says that time is up"


def test_an_end_in_order_before_the_timeout_is_a_cut_as_well() -> None:
    stream, clock = one_run(timeout=10.0)
    stream.request()
    stream.received(message(1))
    clock.now += 2.0
    assert stream.ended(None) is not None, "a proxy has shortened the deadline of the call"
    assert (stream.request().resume_token, stream.request().timeout.seconds) == (b"1", 8)
    stream.received(message(1))
    clock.now += 8.0 - EARLY_SECONDS
    assert stream.ended(None) is None, "the clock of the gateway may be a little faster"


def test_the_deadline_of_somebody_else_is_a_cut() -> None:
    stream, clock = one_run(timeout=10.0)
    stream.received(message(1))
    assert stream.ended(TimeoutError()) is not None
    clock.now += 10.0
    assert stream.ended(TimeoutError()) is None


def test_an_end_in_order_after_the_last_state_is_the_end_whenever_it_comes() -> None:
    stream, _ = one_run(timeout=10.0)
    stream.received(message(3, [0, 1, 2]))
    assert stream.ended(None) is None


def test_pauses_do_not_grow_while_streams_last() -> None:
    stream, clock = one_run(timeout=100.0)
    for _ in range(5):
        stream.request()
        stream.received(message(1))
        clock.now += STABLE_SECONDS
        assert stream.ended(None) == 0.1
    stream_of_many, clock = many("a")
    for _ in range(5):
        stream_of_many.requests()
        stream_of_many.received(update("a", 1))
        clock.now += STABLE_SECONDS
        assert stream_of_many.ended(CUT) == 0.1


def test_the_timeout_without_any_answer_is_the_error() -> None:
    stream, clock = one_run(timeout=30.0)
    clock.now += 30
    with pytest.raises(Unavailable):
        stream.ended(CUT)


def test_a_message_may_take_as_long_as_three_heartbeats() -> None:
    assert one_run()[0].read_timeout() == 30.0
    stream, clock = one_run(timeout=3.0)
    assert stream.read_timeout() == 3.0 + ANSWER_SECONDS
    clock.now += 60
    assert stream.read_timeout() == ANSWER_SECONDS
    assert one_run(wait=False)[0].read_timeout() is None
    short = wait_params("r", include_results=False, order=ResultOrder.BY_INDEX, heartbeat_interval=0.1)
    assert RunStream(short, outage(clock)).read_timeout() == LEAST_READ_TIMEOUT


def many(*run_ids: str, timeout: float | None = None, retry_for: float | None = None) -> tuple[ManyRunsStream, Clock]:
    clock = Clock()
    params = [
        wait_params(run_id, include_results=True, order=ResultOrder.BY_INDEX, timeout=timeout) for run_id in run_ids
    ]
    return ManyRunsStream(params, lambda: outage(clock, retry_for), clock=clock), clock


def update(run_id: str, sent: int, results: Iterable[int] = ()) -> runs_pb2.WatchRunsResponse:
    return runs_pb2.WatchRunsResponse(run_id=run_id, update=message(sent, results, run_id=run_id))


def ended(run_id: str) -> runs_pb2.WatchRunsResponse:
    return runs_pb2.WatchRunsResponse(run_id=run_id, ended=runs_pb2.WatchEnded())


def failed(run_id: str, error: GatewayError) -> runs_pb2.WatchRunsResponse:
    code, text, details = to_status(error)
    event = runs_pb2.WatchError(code=code.value[0], message=text, status_details=details)
    return runs_pb2.WatchRunsResponse(run_id=run_id, error=event)


def tokens(stream: ManyRunsStream) -> dict[str, bytes]:
    return {request.add.run_id: request.add.resume_token for request in stream.requests()}


def test_many_runs_go_on_each_where_it_stopped_and_those_that_ended_do_not() -> None:
    stream, _ = many("a", "b", "c")
    assert tokens(stream) == {"a": b"", "b": b"", "c": b""}
    stream.received(update("a", 1, [0]))
    stream.received(update("b", 3, [0, 1, 2]))
    assert stream.received(ended("b")) == ("b", RunEnded())
    assert stream.ended(CUT) is not None
    assert tokens(stream) == {"a": b"1", "c": b""}
    said = stream.received(update("a", 2, [1]))
    assert said is not None
    assert isinstance(said[1], RunUpdate)
    assert said[1].reconnected


def test_a_long_text_that_is_no_id_is_told_by_its_beginning_and_leaves_the_others_alone() -> None:
    text = "é" * 300
    stream, _ = many(text, "a")
    assert [request.add.run_id for request in stream.requests()] == [text, "a"]
    said = stream.received(failed("é" * 255, InvalidRunId([])))
    assert said is not None
    assert (said[0], type(said[1])) == (text, InvalidRunId)
    assert [request.add.run_id for request in stream.requests()] == ["a"]


def test_the_error_of_one_run_leaves_the_others_alone() -> None:
    stream, _ = many("a", "b")
    said = stream.received(failed("a", RunNotFound("none")))
    assert said is not None
    assert (said[0], type(said[1])) == ("a", RunNotFound)
    assert tokens(stream) == {"b": b""}


def test_a_run_that_cannot_be_followed_for_a_while_is_asked_for_again() -> None:
    stream, clock = many("a", "b", retry_for=10.0)
    stream.received(update("b", 1))
    with pytest.raises(Unavailable) as cut:
        stream.received(failed("a", CUT))
    assert stream.ended(cut.value) is not None
    assert tokens(stream) == {"a": b"", "b": b"1"}
    clock.now += 11
    stream.received(update("b", 1))
    said = stream.received(failed("a", CUT))
    assert said is not None
    assert (said[0], type(said[1])) == ("a", Unavailable), "others live, so it is told of this run alone"


def test_a_run_that_cannot_be_followed_gives_up_alone_whatever_the_pauses_of_the_stream_are() -> None:
    clock = Clock()
    params = [wait_params(run_id, include_results=True, order=ResultOrder.BY_INDEX) for run_id in ("a", "b")]
    # Those of the runs are made first, and are the shorter ones: that of the stream would give up before.
    chances = iter([lambda: 0.0, lambda: 0.0, lambda: 1.0])
    stream = ManyRunsStream(params, lambda: Outage(5.0, clock=clock, chance=next(chances)), clock=clock)
    said = None
    while said is None:
        stream.requests()
        try:
            said = stream.received(failed("a", CUT))
        except Unavailable as error:
            pause = stream.ended(error)
            assert pause is not None
            clock.now += pause
    assert (said[0], type(said[1])) == ("a", Unavailable)
    assert tokens(stream) == {"b": b""}


def test_a_run_that_ends_too_early_is_asked_for_again() -> None:
    stream, _ = many("a")
    stream.received(update("a", 1))
    with pytest.raises(Unavailable):
        stream.received(ended("a"))
    assert tokens(stream) == {"a": b"1"}


def test_a_stream_of_many_that_stays_silent_for_long_is_no_answer() -> None:
    stream, clock = many("a", retry_for=10.0)
    stream.requests()
    stream.received(update("a", 1))
    stream.ended(CUT)
    stream.requests()
    clock.now += 11.0
    with pytest.raises(Unavailable):
        stream.ended(CUT)


def test_a_run_that_ends_before_the_timeout_is_asked_for_again() -> None:
    stream, clock = many("a", timeout=10.0)
    stream.received(update("a", 1))
    with pytest.raises(Unavailable):
        stream.received(ended("a"))
    assert tokens(stream) == {"a": b"1"}
    clock.now += 10.0
    stream.received(update("a", 1))
    assert stream.received(ended("a")) == ("a", RunEnded())


def test_what_is_said_of_other_runs_is_not_heard() -> None:
    assert many("a")[0].received(ended("z")) is None


def test_when_no_run_is_left_it_has_ended_however_the_stream_does() -> None:
    stream, _ = many("a")
    stream.received(update("a", 3, [0, 1, 2]))
    stream.received(ended("a"))
    assert stream.ended(CUT) is None
    assert many()[0].ended(None) is None


def test_many_end_with_the_timeout() -> None:
    stream, clock = many("a", timeout=5.0)
    clock.now += 5
    with pytest.raises(Unavailable):
        stream.ended(CUT)
    stream.received(update("a", 1))
    assert stream.ended(CUT) is None


def test_an_error_with_an_unknown_code_is_an_error() -> None:
    stream, _ = many("a")
    event = runs_pb2.WatchError(code=999, message="strange")
    said = stream.received(runs_pb2.WatchRunsResponse(run_id="a", error=event))
    assert said is not None
    assert str(said[1]) == "strange"
