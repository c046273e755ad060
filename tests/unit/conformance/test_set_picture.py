"""What a follower of a set takes for news, and for a repetition."""

import pytest

from gateway.conformance.promise import PromiseBroken
from gateway.conformance.set_picture import Picture
from runs.v1 import runs_pb2


def message(
    *items: int,
    token: bytes,
    event: runs_pb2.SetEvent.ValueType = runs_pb2.SET_EVENT_ADDED,
    revision: int = 1,
    restarted: bool = False,
) -> runs_pb2.WatchRunsResponse:
    results = [runs_pb2.ItemResult(item_index=item) for item in items]
    run = runs_pb2.RunStatus(run_id="run", status=runs_pb2.RUN_STATE_SUCCESS, results=results)
    update = runs_pb2.GetRunResponse(run=run, revision=revision, resume_token=token, restarted=restarted)
    return runs_pb2.WatchRunsResponse(set="set", run_id="run", set_event=event, update=update)


def test_the_results_of_a_run_may_take_several_messages() -> None:
    picture = Picture("set")
    for restarted in (False, True):
        picture.results.clear()
        picture.take(message(0, 1, token=b"", restarted=restarted))
        picture.take(message(2, token=b"1"))
        assert (list(picture.runs), picture.results, picture.token) == (["run"], {"run": [0, 1, 2]}, b"1")


def test_a_run_that_has_left_may_come_again() -> None:
    picture = Picture("set")
    for _ in range(2):
        picture.take(message(token=b"", revision=1))
        picture.take(message(token=b"1", revision=1))
        picture.take(message(token=b"2", event=runs_pb2.SET_EVENT_LEFT))
    assert picture.runs == {}


def test_a_state_that_is_told_twice_breaks_the_promise() -> None:
    picture = Picture("set")
    picture.take(message(token=b"1"))
    picture.take(message(token=b"2", revision=2))
    with pytest.raises(PromiseBroken, match="told twice"):
        picture.take(message(token=b"3", revision=2))
