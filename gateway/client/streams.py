"""Following runs over streams that may be cut: what to ask for, what an answer means, when to ask again.

Nothing here does any input or output. A client opens a stream with what `request` or `requests` returns, hands each
message to `received` and the end of the stream to `ended`, which tells how long to pause before the next stream.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Protocol, TypeAlias, TypeVar

import grpc

from gateway.adapter import proto
from gateway.adapter.status import from_status
from gateway.client.outage import Outage
from gateway.client.status import ItemResult, RunEnded, RunStatus, RunUpdate, run_status
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.model import GetParams
from runs.v1 import runs_pb2

RunEvent: TypeAlias = RunUpdate | RunEnded | GatewayError
"""What may come of a run among many: an update; its end; the error for which it cannot be followed."""

MISSED_HEARTBEATS: Final = 3
"""After so many heartbeats that have not come, a connection counts as dead."""

LEAST_PATIENCE: Final = 1.0
"""How many seconds a message may take in any case."""

ANSWER_SECONDS: Final = 5.0
"""How long after the timeout its answer may take."""

Clock: TypeAlias = Callable[[], float]

Response_contra = TypeVar("Response_contra", contravariant=True)
Event_co = TypeVar("Event_co", covariant=True)

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Follower(Protocol[Response_contra, Event_co]):
    """What a client carries out: following one run, or many."""

    def patience(self) -> float | None:
        """How many seconds the next message may take; None for as long as the call."""

    def received(self, response: Response_contra, /) -> Event_co | None:
        """What a message says; None if it says nothing new. Raises what calls for another stream."""

    def ended(self, error: Exception | None, /) -> float | None:
        """How many seconds to pause, now that the stream has ended; None: no more. Raises what is final."""


class Following:
    """One run that is followed until it has finished, or until the timeout of `params` has passed."""

    def __init__(self, params: GetParams, outage: Outage, *, clock: Clock = time.monotonic) -> None:
        self._params = params
        self._outage = outage
        self._clock = clock
        self._until = _until(params, clock)
        self._token = params.resume_token
        self._revision: int | None = None
        self._terminal = False
        self._first = True
        self._cut = False

    def request(self) -> runs_pb2.GetRunRequest:
        """Ask for what has not come yet."""
        self._first = True
        remaining = None if self._until is None else max(0.0, self._until - self._clock())
        return proto.get_params_to_proto(
            self._params.model_copy(update={"resume_token": self._token, "timeout": remaining})
        )

    def deadline(self) -> float | None:
        """How many seconds the call may take; None for no limit."""
        return None if self._params.wait else self._outage.remaining()

    def patience(self) -> float | None:
        """How many seconds the next message may take; None for as long as the call."""
        if self._params.heartbeat_interval is None:
            return None
        seconds = max(LEAST_PATIENCE, MISSED_HEARTBEATS * self._params.heartbeat_interval)
        if self._until is None:
            return seconds
        return min(seconds, max(0.0, self._until - self._clock()) + ANSWER_SECONDS)

    def received(self, response: runs_pb2.GetRunResponse) -> RunUpdate | None:
        """What a message says; None for a heartbeat."""
        run = proto.run_status_from_proto(response.run, with_results=self._params.include_results)
        self._outage.heard(progress=self._progress(response))
        self._token = response.resume_token
        self._revision = response.revision
        self._terminal = run.status.terminal
        self._first = False
        if response.heartbeat:
            return None
        reconnected, self._cut = self._cut, False
        return RunUpdate(run_status(run), response.revision, response.resume_token, response.restarted, reconnected)

    def ended(self, error: Exception | None) -> float | None:
        """How many seconds to pause, now that the stream has ended; None: no more. Raises what is final."""
        if error is None:
            asked_for = self._terminal or not self._params.wait or self._until is not None
            if asked_for and self._revision is not None:
                return None
            error = Unavailable("the gateway has ended the stream too early")
        elif self._terminal and not self._params.include_results:
            return None
        self._cut = True
        pause = self._outage.pause(error)
        return _within(pause, self._until, self._clock(), error if self._revision is None else None)

    def cut(self) -> None:
        """The stream has ended, with which this run was followed among others."""
        self._cut = True

    def _progress(self, response: runs_pb2.GetRunResponse) -> bool:
        """Whether there is more in a message than in the first one of every stream, the state that was known."""
        return not self._first or response.revision != self._revision or bool(response.run.results)


class FollowingMany:
    """Many runs that are followed on one stream."""

    def __init__(
        self, runs: Iterable[GetParams], outage: Callable[[], Outage], *, clock: Clock = time.monotonic
    ) -> None:
        self._clock = clock
        self._runs: dict[str, Following] = {}
        self._until: float | None = None
        for params in runs:
            self._runs[params.run_id] = Following(params, outage(), clock=clock)
            self._until = _until(params, clock)
        self._outage = outage()
        self._heard = False

    def requests(self) -> list[runs_pb2.WatchRunsRequest]:
        """Ask for what has not come yet of the runs that have not ended; nothing if there are none."""
        return [runs_pb2.WatchRunsRequest(add=following.request()) for following in self._runs.values()]

    def patience(self) -> float | None:
        """How many seconds the next message may take."""
        return min(
            (following.patience() or LEAST_PATIENCE for following in self._runs.values()), default=ANSWER_SECONDS
        )

    def received(self, response: runs_pb2.WatchRunsResponse) -> tuple[str, RunEvent] | None:
        """What a message says of which run; None if nothing is to be said. Raises what calls for another stream."""
        self._heard = True
        run_id = response.run_id
        following = self._runs.get(run_id)
        if following is None:
            return None
        kind = response.WhichOneof("event")
        if kind == "update":
            update = following.received(response.update)
            self._outage.heard(progress=update is None or not update.reconnected or bool(update.results))
            return None if update is None else (run_id, update)
        error = None if kind == "ended" else _error(response.error)
        try:
            again = following.ended(error)
        except GatewayError as final:
            del self._runs[run_id]
            return run_id, final
        if again is None:
            del self._runs[run_id]
            return run_id, RunEnded()
        raise error or Unavailable("the gateway has stopped to follow a run too early")

    def ended(self, error: Exception | None) -> float | None:
        """How many seconds to pause, now that the stream has ended; None: no more. Raises what is final."""
        if not self._runs:
            return None
        for following in self._runs.values():
            following.cut()
        error = error or Unavailable("the gateway has ended the stream too early")
        return _within(self._outage.pause(error), self._until, self._clock(), error if not self._heard else None)


class Fold:
    """The answer of `runs/get`, made of the updates of a stream: the last status, with the results of all."""

    def __init__(self) -> None:
        self._last: RunStatus | None = None
        self._results: list[ItemResult] = []

    def add(self, update: RunUpdate) -> None:
        """Take the next update."""
        if update.restarted:
            self._results = []
        self._results += update.results
        self._last = update.run

    def status(self) -> RunStatus:
        """The status after all updates."""
        assert self._last is not None, "a stream ends well only after an update"
        return self._last if self._last.results is None else replace(self._last, results=self._results)


class Unseen:
    """Picks the results that have not come before, though a stream has started anew."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of(self, update: RunUpdate) -> list[ItemResult]:
        """The results of an update that no earlier one has had."""
        results = [result for result in update.results if result.item_index not in self._seen]
        self._seen.update(result.item_index for result in results)
        return results


def _error(message: runs_pb2.WatchError) -> GatewayError:
    code = _CODES.get(message.code, grpc.StatusCode.UNKNOWN)
    return from_status(code, message.message, message.status_details)


def _until(params: GetParams, clock: Clock) -> float | None:
    return None if params.timeout is None else clock() + params.timeout


def _within(pause: float, until: float | None, now: float, error: Exception | None) -> float | None:
    """The pause, as far as there is time for it; when time is up, None, or the error if nothing else has come."""
    if until is None:
        return pause
    if now < until:
        return min(pause, until - now)
    if error is not None:
        raise error from None
    return None
