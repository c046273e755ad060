"""What the kit's own server tells a client under test of a set: what happens to its runs, and how each call goes."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import grpc

from runs.v1 import runs_pb2

_ALL: Final = 1_000_000
"""As many runs as no story has."""

_TOKEN: Final = "point"


class Happening(NamedTuple):
    """A run has come, changed, or left (None)."""

    run_id: str
    state: "runs_pb2.RunState.ValueType | None"


class SetCallPlan(NamedTuple):
    """How a call of WatchRuns goes: how much has happened before it, how many messages come, and what it ends with.

    Without an end it goes on until the client leaves. `forgets` makes the server take no token.
    """

    before: int
    messages: int | None = None
    end: grpc.StatusCode | None = None
    forgets: bool = False


class _Reached(NamedTuple):
    """Where a client is: it knows what has happened until then, or so many runs of the picture of that moment."""

    happened: int
    runs: int = _ALL

    def token(self) -> bytes:
        return f"{_TOKEN} {self.happened} {self.runs}".encode()


class SetStory(NamedTuple):
    """What happens to the runs of a set, and how calls go. The last plan is that of all later calls."""

    happens: Sequence[Happening]
    plans: Sequence[SetCallPlan]

    def answer(self) -> dict[str, str]:
        """What the client has to print."""
        return {run_id: _name(state) for run_id, state in self._picture(len(self.happens)).items()}

    def plan(self, number: int) -> SetCallPlan:
        """How the call with this number goes, from 0."""
        return self.plans[min(number, len(self.plans) - 1)]

    def told(self, watch: runs_pb2.WatchSet, plan: SetCallPlan) -> list[runs_pb2.WatchRunsResponse]:
        """The messages of a call: what is not known of what has happened, `caught_up`, then what happens."""
        known = None if plan.forgets else _known(watch.resume_token)
        restarted = bool(watch.resume_token) and known is None
        point = known or _Reached(plan.before, 0)
        present = max(point.happened, plan.before)
        caught_up = runs_pb2.CaughtUp(set=watch.name, resume_token=_Reached(present).token())
        messages = [
            *self._unseen(watch.name, point),
            *self._later(watch.name, point.happened, plan.before),
            runs_pb2.WatchRunsResponse(set=watch.name, caught_up=caught_up),
            *self._later(watch.name, present, len(self.happens)),
        ]
        if restarted:
            first = messages[0]
            (first.caught_up if first.HasField("caught_up") else first.update).restarted = True
        return messages

    def _picture(self, happened: int) -> "dict[str, runs_pb2.RunState.ValueType]":
        """The runs of the set after so much has happened."""
        found: dict[str, runs_pb2.RunState.ValueType] = {}
        for run_id, state in self.happens[:happened]:
            found.pop(run_id, None)
            if state is not None:
                found[run_id] = state
        return found

    def _unseen(self, name: str, point: _Reached) -> Iterator[runs_pb2.WatchRunsResponse]:
        """The runs of the picture of a moment that a client does not know."""
        picture = [*self._picture(point.happened).items()]
        for number, (run_id, state) in enumerate(picture[point.runs :], point.runs + 1):
            after = _Reached(point.happened, number if number < len(picture) else _ALL)
            yield _message(name, run_id, state, runs_pb2.SET_EVENT_ADDED, after)

    def _later(self, name: str, start: int, stop: int) -> Iterator[runs_pb2.WatchRunsResponse]:
        """What happens between two moments."""
        for number in range(start, stop):
            run_id, state = self.happens[number]
            event = runs_pb2.SET_EVENT_CHANGED if run_id in self._picture(number) else runs_pb2.SET_EVENT_ADDED
            yield _message(name, run_id, state, event, _Reached(number + 1))


def _message(
    name: str,
    run_id: str,
    state: "runs_pb2.RunState.ValueType | None",
    event: "runs_pb2.SetEvent.ValueType",
    after: _Reached,
) -> runs_pb2.WatchRunsResponse:
    update = runs_pb2.GetRunResponse(resume_token=after.token())
    if state is None:
        event = runs_pb2.SET_EVENT_LEFT
    else:
        update.revision = after.happened
        update.run.CopyFrom(runs_pb2.RunStatus(run_id=run_id, flow_id=f"sha256:{'0' * 64}", status=state))
        update.run.created_at.FromSeconds(1_700_000_000)
    return runs_pb2.WatchRunsResponse(set=name, run_id=run_id, set_event=event, update=update)


def _known(token: bytes) -> _Reached | None:
    """The point that a token names; None if it is none of the kit."""
    words = token.decode(errors="replace").split(" ")
    if len(words) != 3 or words[0] != _TOKEN or not all(word.isdigit() for word in words[1:]):
        return None
    return _Reached(int(words[1]), int(words[2]))


def _name(state: "runs_pb2.RunState.ValueType") -> str:
    """The word for a state, as in JSON."""
    return runs_pb2.RunState.Name(state).removeprefix("RUN_STATE_").lower()
