"""Streams of updates that survive cuts: what to request, what a message means, when to start the stream again.

Nothing here does input or output. A client starts a stream with the result of `request` or `requests`, passes each
message to `received` and the end of the stream to `ended`, which returns how long to pause before the next start.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, Protocol, TypeAlias, TypeVar

import grpc
from msgspec import structs

from gateway.adapter import params_proto, status_proto
from gateway.adapter.grpc_status import from_status
from gateway.client.outage import ANSWER_SECONDS, EARLY_SECONDS, Outage, time_until
from gateway.client.status import ItemResult, RunEnded, RunStatus, RunUpdate, run_status
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.model import GetParams
from runs.v1 import runs_pb2

RunEvent: TypeAlias = RunUpdate | RunEnded | GatewayError
"""An event of a run among many: an update, its end, or the error for which it cannot be followed."""

MISSED_HEARTBEATS: Final = 3
"""A connection counts as dead after so many missing heartbeats."""

LEAST_READ_TIMEOUT: Final = 1.0
"""Seconds that a message may take in any case."""

STABLE_SECONDS: Final = 1.0
"""A stream that has lasted so long was not in vain, even if it has told nothing new: the next one starts soon."""

NAME_LENGTH: Final = 255
"""How many characters of an id messages have, if it is none."""

Clock: TypeAlias = Callable[[], float]

Response_contra = TypeVar("Response_contra", contravariant=True)
Event_co = TypeVar("Event_co", covariant=True)

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ResumableStream(Protocol[Response_contra, Event_co]):
    """A stream that is started again after a cut, and continues where it stopped."""

    @property
    def lasts(self) -> bool:
        """Whether the stream may be open for long."""

    def read_timeout(self) -> float | None:
        """Return how many seconds the next message may take; None: as long as the call."""

    def received(self, response: Response_contra, /) -> Event_co | None:
        """Return the event in a message, None if there is nothing new in it.

        Raises Unavailable if the stream has to be started again.
        """

    def ended(self, error: Exception | None, /) -> float | None:
        """Return how many seconds to pause before the stream is started again; None: it is complete.

        `error` is the one that the stream ended with. Raises it if another stream would not help, or not in time.
        """


class RunStream:
    """The updates of one run, until it has finished or the timeout of `params` has passed."""

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
        self._started = clock()

    @property
    def run_id(self) -> str:
        """The id of the run, as it was given."""
        return self._params.run_id

    @property
    def lasts(self) -> bool:
        """Whether the stream may be open for long: it waits for the run."""
        return self._params.wait

    def request(self) -> runs_pb2.GetRunRequest:
        """Return the request for the updates that have not been received."""
        self._first = True
        self._started = self._clock()
        remaining = time_until(self._until, self._clock)
        return params_proto.get_params_to_proto(
            structs.replace(self._params, resume_token=self._token, timeout=remaining)
        )

    def call_timeout(self) -> float | None:
        """Return how many seconds the call may take; None: no limit."""
        return None if self._params.wait else self._outage.remaining()

    def read_timeout(self) -> float | None:
        """Return how many seconds the next message may take; None: as long as the call."""
        if self._params.heartbeat_interval is None:
            return None
        seconds = max(LEAST_READ_TIMEOUT, MISSED_HEARTBEATS * self._params.heartbeat_interval)
        if self._until is None:
            return seconds
        return min(seconds, max(0.0, self._until - self._clock()) + ANSWER_SECONDS)

    def received(self, response: runs_pb2.GetRunResponse) -> RunUpdate | None:
        """Return the update in a message; None for a heartbeat."""
        run = status_proto.run_status_from_proto(response.run, with_results=self._params.include_results)
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
        """Return how many seconds to pause before the stream is started again; None: it is complete.

        `error` is the one that the stream ended with. Raises it if another stream would not help, or not in time.
        """
        if error is None:
            if self._revision is not None and (self._terminal or not self._params.wait or self._is_late()):
                return None
            error = Unavailable("the gateway has ended the stream too early")
        elif self._terminal and not self._params.include_results:
            return None
        self._cut = True
        if not self._first and self._clock() - self._started >= STABLE_SECONDS:
            self._outage.heard()
        self._first = True
        try:
            pause = self._outage.pause(error)
            return _within(pause, self._until, self._clock(), error if self._revision is None else None)
        finally:
            del error  # It holds this frame.

    def cut(self) -> None:
        """Take note that the stream with this run and others has ended."""
        self._cut = True

    def _is_late(self) -> bool:
        """Return whether the timeout of the run has passed. Before, a stream that ends was cut, whatever its status.

        A proxy that shortens the deadline of a call lets the gateway end it in order.
        """
        return self._until is not None and self._clock() >= self._until - EARLY_SECONDS

    def _progress(self, response: runs_pb2.GetRunResponse) -> bool:
        """Return whether a message tells more than the known state, which the first one of each stream repeats."""
        return not self._first or response.revision != self._revision or bool(response.run.results)


class ManyRunsStream:
    """The updates of many runs on one stream."""

    def __init__(
        self, runs: Iterable[GetParams], outage: Callable[[], Outage], *, clock: Clock = time.monotonic
    ) -> None:
        self._clock = clock
        self._runs: dict[str, RunStream] = {}
        self._until: float | None = None
        for params in runs:
            self._runs[params.run_id[:NAME_LENGTH]] = RunStream(params, outage(), clock=clock)
            self._until = _until(params, clock)
        self._outage = outage()
        self._heard = self._heard_now = False
        self._started = clock()

    @property
    def lasts(self) -> bool:
        """Whether the stream may be open for long."""
        return True

    def requests(self) -> list[runs_pb2.WatchRunsRequest]:
        """Return the requests for the updates that have not been received, of each run that has not ended."""
        self._started, self._heard_now = self._clock(), False
        return [runs_pb2.WatchRunsRequest(add=run.request()) for run in self._runs.values()]

    def read_timeout(self) -> float | None:
        """Return how many seconds the next message may take."""
        return min((run.read_timeout() or LEAST_READ_TIMEOUT for run in self._runs.values()), default=ANSWER_SECONDS)

    def received(self, response: runs_pb2.WatchRunsResponse) -> tuple[str, RunEvent] | None:
        """Return the id of a run and its event; None if there is nothing new in the message.

        Raises the error of a run if the stream has to be started again to follow the run.
        """
        self._heard = self._heard_now = True
        run = self._runs.get(response.run_id)
        if run is None:
            return None
        kind = response.WhichOneof("event")
        if kind == "update":
            update = run.received(response.update)
            self._outage.heard(progress=update is None or not update.reconnected or bool(update.results))
            return None if update is None else (run.run_id, update)
        error = None if kind == "ended" else watch_error(response.error)
        try:
            pause = run.ended(error)
        except GatewayError as final:
            del self._runs[response.run_id]
            return run.run_id, final
        if pause is None:
            del self._runs[response.run_id]
            return run.run_id, RunEnded()
        self._outage.heard(progress=False)  # The gateway answers: the run gives up alone.
        error = error or Unavailable("the gateway has stopped following a run too early")
        try:
            raise error
        finally:
            del error  # It holds this frame.

    def ended(self, error: Exception | None) -> float | None:
        """Return how many seconds to pause before the stream is started again; None: every run has ended.

        `error` is the one that the stream ended with. Raises it if another stream would not help, or not in time.
        """
        if not self._runs:
            return None
        for run in self._runs.values():
            run.cut()
        now = self._clock()
        if self._heard_now and now - self._started >= STABLE_SECONDS:
            self._outage.heard()
        self._heard_now = False
        error = error or Unavailable("the gateway has ended the stream too early")
        try:
            return _within(self._outage.pause(error), self._until, self._clock(), error if not self._heard else None)
        finally:
            del error  # It holds this frame.


class Fold:
    """The updates of a stream folded into one status: the last one, with the results of all."""

    def __init__(self) -> None:
        self._last: RunStatus | None = None
        self._results: list[ItemResult] = []

    def add(self, update: RunUpdate) -> None:
        """Add the next update."""
        if update.restarted:
            self._results = []
        self._results += update.results
        self._last = update.run

    def each(self, updates: Iterable[RunUpdate]) -> Iterator[RunUpdate]:
        """Yield updates, each of which has been added."""
        for update in updates:
            self.add(update)
            yield update

    def status(self) -> RunStatus:
        """Return the status after all updates."""
        assert self._last is not None, "a stream completes only after an update"
        return self._last if self._last.results is None else replace(self._last, results=self._results)


class Unseen:
    """Filters out results that were received before: a stream that starts from the beginning repeats them."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of(self, update: RunUpdate) -> list[ItemResult]:
        """Return the results of an update that no earlier update contained."""
        results = [result for result in update.results if result.item_index not in self._seen]
        self._seen.update(result.item_index for result in results)
        return results


def watch_error(message: runs_pb2.WatchError) -> GatewayError:
    """Return the error for which one run or set of a stream cannot be followed."""
    code = _CODES.get(message.code, grpc.StatusCode.UNKNOWN)
    return from_status(code, message.message, message.status_details)


def _until(params: GetParams, clock: Clock) -> float | None:
    return None if params.timeout is None else clock() + params.timeout


def _within(pause: float, until: float | None, now: float, error: Exception | None) -> float | None:
    """Return the pause, at most the time that is left. Without any, raises `error`, or returns None if that is None."""
    if until is None:
        return pause
    if now < until:
        return min(pause, until - now)
    if error is None:
        return None
    try:
        raise error from None
    finally:
        del error  # The error holds this frame.
