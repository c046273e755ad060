"""Sets of runs that are followed: what is asked for after a cut, and the picture that the events make."""

from collections.abc import Iterable
from typing import Any

import pytest

from gateway.adapter.grpc_status import to_status
from gateway.adapter.status_proto import run_status_to_proto
from gateway.client import CaughtUp, InvalidParams, RunFilter, RunSet, RunState, SetEvent, SetUpdate, Unavailable
from gateway.client.outage import Outage
from gateway.client.run_sets import SetStream
from gateway.core.errors import GatewayError, Unsupported
from gateway.core.model import ItemResult, ItemStatistics, RunStatus
from runs.v1 import runs_pb2

CUT = Unavailable("cut")


class Clock:
    """A time that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def followed(clock: Clock | None = None, **options: Any) -> SetStream:
    clock = clock or Clock()
    given = {"only_new": False, "include_results": False, "timeout": None, "resume_token": b"", **options}
    return SetStream(RunFilter(), Outage(None, clock=clock, chance=lambda: 1.0), clock=clock, **given)


def asked(stream: SetStream) -> runs_pb2.WatchSet:
    [request] = stream.requests()
    return request.add_set


def update(
    token: bytes,
    run_id: str = "r",
    *,
    event: int = runs_pb2.SET_EVENT_ADDED,
    state: RunState = RunState.RUNNING,
    results: Iterable[int] = (),
    **fields: Any,
) -> runs_pb2.WatchRunsResponse:
    found = [ItemResult(item_index=index, status=RunState.SUCCESS, value=str(index)) for index in results]
    status = RunStatus(
        run_id=run_id, flow_id="f", status=state, items=ItemStatistics(total=1), created_at=0, results=found
    )
    message = runs_pb2.GetRunResponse(run=run_status_to_proto(status), revision=1, resume_token=token, **fields)
    return runs_pb2.WatchRunsResponse(run_id=run_id, set="runs", set_event=event, update=message)  # type: ignore[arg-type]


def deleted(token: bytes, run_id: str) -> runs_pb2.WatchRunsResponse:
    message = runs_pb2.GetRunResponse(resume_token=token)
    return runs_pb2.WatchRunsResponse(run_id=run_id, set_event=runs_pb2.SET_EVENT_LEFT, update=message)


def caught_up(token: bytes, **fields: Any) -> runs_pb2.WatchRunsResponse:
    return runs_pb2.WatchRunsResponse(caught_up=runs_pb2.CaughtUp(resume_token=token, **fields))


def refused(error: GatewayError) -> runs_pb2.WatchRunsResponse:
    code, text, details = to_status(error)
    message = runs_pb2.WatchError(code=code.value[0], message=text, status_details=details)
    return runs_pb2.WatchRunsResponse(set="runs", error=message)


def test_the_events_of_a_set_make_a_picture() -> None:
    stream, picture = followed(), RunSet()
    stream.requests()
    left = runs_pb2.SET_EVENT_LEFT
    changed = runs_pb2.SET_EVENT_CHANGED
    events = [
        stream.received(message)
        for message in (
            update(b"1", "a"),
            update(b"2", "b"),
            update(b"3", "d"),
            caught_up(b"4"),
            update(b"5", "a", event=changed, state=RunState.SUCCESS),
            update(b"6", "b", event=left, state=RunState.FAILED),
            deleted(b"7", "d"),
            update(b"8", "c", event=left),
        )
    ]
    told = []
    for event in events:
        assert event is not None
        picture.add(event)
        told.append("caught up" if isinstance(event, CaughtUp) else (event.event, event.run_id))
    assert told == [
        *((SetEvent.ADDED, run) for run in "abd"),
        "caught up",
        (SetEvent.CHANGED, "a"),
        *((SetEvent.LEFT, run) for run in "bdc"),
    ]
    assert {run_id: run.status for run_id, run in picture.runs.items()} == {"a": RunState.SUCCESS}
    assert isinstance(events[6], SetUpdate)
    assert events[6].run is None


@pytest.mark.parametrize("cut_after", range(4))
def test_wherever_a_set_is_cut_the_next_stream_goes_on(cut_after: int) -> None:
    stream = followed(only_new=True)
    assert (asked(stream).resume_token, asked(stream).only_new) == (b"", True)
    messages = [caught_up(b"1"), update(b"2", "a"), update(b"3", "b")]
    for message in messages[:cut_after]:
        event = stream.received(message)
        assert event is not None
        assert not event.reconnected
    assert stream.ended(CUT) is not None
    again = asked(stream)
    assert (again.resume_token, again.only_new) == (b"%d" % cut_after if cut_after else b"", not cut_after)
    event, next_one = stream.received(caught_up(b"8")), stream.received(update(b"9"))
    assert event is not None
    assert event.reconnected
    assert next_one is not None
    assert not next_one.reconnected


@pytest.mark.parametrize("first", ["update", "caught up", "part"])
def test_a_token_that_is_not_understood_begins_the_picture_anew(first: str) -> None:
    stream, picture = followed(resume_token=b"old", include_results=True), RunSet()
    picture.runs["gone"] = None  # type: ignore[assignment]
    assert asked(stream).resume_token == b"old"
    messages = {
        "update": [update(b"1", restarted=True), caught_up(b"2")],
        "caught up": [caught_up(b"2", restarted=True)],
        "part": [
            update(b"", restarted=True, results=[0], state=RunState.SUCCESS),
            update(b"1", results=[1], state=RunState.SUCCESS),
        ],
    }
    events = [event for message in messages[first] if (event := stream.received(message)) is not None]
    assert [event.restarted for event in events] == [True, False][: len(events)]
    for event in events:
        picture.add(event)
    assert picture.runs.keys() == ({"r"} if first != "caught up" else set())


def test_results_come_in_many_messages_and_with_one_event() -> None:
    stream = followed(include_results=True)
    assert asked(stream).include_results
    running = stream.received(update(b"1"))
    assert isinstance(running, SetUpdate)
    assert running.run is not None
    assert running.run.results is None
    assert stream.received(update(b"", results=[0], state=RunState.SUCCESS)) is None
    stream.ended(CUT)
    assert asked(stream).resume_token == b"1"
    assert stream.received(update(b"", results=[0, 1], state=RunState.SUCCESS)) is None
    whole = stream.received(update(b"2", results=[2], state=RunState.SUCCESS))
    assert isinstance(whole, SetUpdate)
    assert whole.run is not None
    assert [result.value for result in whole.run.results or ()] == [0, 1, 2]


def test_a_heartbeat_is_no_event() -> None:
    stream = followed()
    stream.received(caught_up(b"1"))
    heartbeat = runs_pb2.GetRunResponse(resume_token=b"1", heartbeat=True)
    assert stream.received(runs_pb2.WatchRunsResponse(set="runs", update=heartbeat)) is None
    stream.ended(CUT)
    assert asked(stream).resume_token == b"1"


def test_a_set_that_cannot_be_followed_raises_its_error() -> None:
    stream = followed()
    with pytest.raises(Unsupported) as raised:
        stream.received(refused(Unsupported("the runtime of this gateway cannot follow sets of runs")))
    with pytest.raises(Unsupported):
        stream.ended(raised.value)


@pytest.mark.parametrize(
    "message", [refused(Unavailable("later")), runs_pb2.WatchRunsResponse(ended=runs_pb2.WatchEnded())]
)
def test_a_set_that_ends_is_followed_again(message: runs_pb2.WatchRunsResponse) -> None:
    stream = followed()
    with pytest.raises(Unavailable) as raised:
        stream.received(message)
    assert stream.ended(raised.value) is not None


def test_a_set_ends_with_its_time() -> None:
    clock = Clock()
    stream = followed(clock, timeout=10)
    assert stream.call_timeout() == 10
    stream.requests()
    stream.received(caught_up(b"1"))
    clock.now += 4
    pause = stream.ended(CUT)
    assert pause is not None
    assert pause < 6
    assert stream.call_timeout() == 6
    clock.now += 6
    assert stream.ended(TimeoutError()) is None
    assert stream.ended(None) is None


def test_a_gateway_that_was_never_reached_in_time_is_an_error() -> None:
    clock = Clock()
    stream = followed(clock, timeout=10)
    clock.now += 10
    with pytest.raises(Unsupported):
        stream.ended(Unsupported("no"))


def test_only_new_runs_after_a_token_make_no_sense() -> None:
    with pytest.raises(InvalidParams):
        followed(only_new=True, resume_token=b"1")
