"""A set that is cut at any moments: the picture of the client equals the set of a model, and nothing comes twice."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.status_proto import run_status_to_proto
from gateway.client import CaughtUp, RunFilter, RunSet, RunState, SetUpdate, Unavailable
from gateway.client.outage import Outage
from gateway.client.run_sets import SetStream
from gateway.core.model import ItemStatistics, RunStatus
from runs.v1 import runs_pb2

RUNS = "abcd"
STATES = [RunState.PENDING, RunState.RUNNING, RunState.SUCCESS]

Change = tuple[str, RunState | None]
"""A run and its new state; None: it is deleted."""


class Model:
    """A gateway with a log that holds each run once, at its last change. Runs that are running are in the set."""

    def __init__(self) -> None:
        self.clock = 0
        self.log: dict[str, tuple[int, RunState | None]] = {}

    def change(self, run_id: str, state: RunState | None) -> None:
        self.clock += 1
        self.log.pop(run_id, None)
        self.log[run_id] = (self.clock, state)

    @property
    def members(self) -> set[str]:
        return {run_id for run_id, (_, state) in self.log.items() if state is RunState.RUNNING}

    def stream(self, token: bytes) -> Iterator[runs_pb2.WatchRunsResponse]:
        """What there is after a token by now."""
        position = int(token or b"0")
        for run_id, (changed, state) in list(self.log.items()):
            if changed > position and (state is RunState.RUNNING or token):
                yield _message(run_id, changed, state)
        yield runs_pb2.WatchRunsResponse(caught_up=runs_pb2.CaughtUp(resume_token=b"%d" % self.clock))


def _message(run_id: str, changed: int, state: RunState | None) -> runs_pb2.WatchRunsResponse:
    update = runs_pb2.GetRunResponse(revision=changed, resume_token=b"%d" % changed)
    if state is not None:
        status = RunStatus(run_id=run_id, flow_id="f", status=state, items=ItemStatistics(total=1), created_at=0)
        update.run.CopyFrom(run_status_to_proto(status))
    event = runs_pb2.SET_EVENT_CHANGED if state is RunState.RUNNING else runs_pb2.SET_EVENT_LEFT
    return runs_pb2.WatchRunsResponse(run_id=run_id, set_event=event, update=update)


CHANGES = st.lists(st.tuples(st.sampled_from(RUNS), st.sampled_from([*STATES, None])), max_size=6)


@pytest.mark.parametrize("include_results", [False, True])
@given(parts=st.lists(st.tuples(CHANGES, st.integers(0, 5)), max_size=10))
def test_the_picture_equals_the_set(parts: list[tuple[list[Change], int]], include_results: bool) -> None:
    """In each part the set changes, and so many messages arrive before a cut; in the end all of them."""
    model, picture = Model(), RunSet()
    seen: set[tuple[str, int]] = set()
    stream = SetStream(
        RunFilter(),
        Outage(None),
        only_new=False,
        include_results=include_results,
        timeout=None,
        resume_token=b"",
    )
    for changes, arriving in [*parts, ([], None)]:
        for run_id, state in changes:
            model.change(run_id, state)
        [request] = stream.requests()
        for response in islice(model.stream(request.add_set.resume_token), arriving):
            event = stream.received(response)
            assert event is not None
            if isinstance(event, SetUpdate):
                assert (event.run_id, event.revision) not in seen
                seen.add((event.run_id, event.revision))
            picture.add(event)
            if isinstance(event, CaughtUp):
                assert picture.runs.keys() == model.members
        stream.ended(Unavailable("cut"))
    assert picture.runs.keys() == model.members
