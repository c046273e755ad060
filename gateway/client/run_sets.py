"""Sets of runs that are followed: what to request, what a message means, and the picture that the events make.

Nothing here does input or output, as in `streams`.
"""

import time
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from msgspec import structs

from gateway.adapter import status_proto
from gateway.adapter.filters_proto import run_filter_to_proto
from gateway.adapter.proto_fields import ANY_SIZE
from gateway.client.filters import RunFilter, canonical
from gateway.client.outage import EARLY_SECONDS, Outage, time_until
from gateway.client.status import RunStatus, run_status
from gateway.client.streams import STABLE_SECONDS, Clock, watch_error
from gateway.core import model
from gateway.core.errors import InvalidParams, Unavailable
from gateway.core.run_sets import SetEvent
from runs.v1 import runs_pb2

_NAME: Final = "runs"
"""What a stream with one set calls it."""

_EVENTS = {
    runs_pb2.SET_EVENT_ADDED: SetEvent.ADDED,
    runs_pb2.SET_EVENT_CHANGED: SetEvent.CHANGED,
    runs_pb2.SET_EVENT_LEFT: SetEvent.LEFT,
}


@dataclass(frozen=True)
class SetUpdate:
    """A run has come into a set that is watched, has changed there, or has left it."""

    event: SetEvent
    run_id: str
    run: RunStatus | None
    """The whole status; None if the run has been deleted. Its `results`, if they were asked for, are all that the run
    has, and are there once it has ended."""
    revision: int
    """A number that grows with each change of the run; 0 if the run has been deleted."""
    resume_token: bytes = field(repr=False)
    """The point after this update: a watch of the same filter goes on from here, also in another process."""
    restarted: bool = False
    """The gateway did not accept the resume token: the set begins anew, and earlier events count no more."""
    reconnected: bool = False
    """The connection was lost before this event, and was made again."""


@dataclass(frozen=True)
class CaughtUp:
    """The present is complete: everything that had happened to a set when it was asked for has been told."""

    resume_token: bytes = field(repr=False)
    """The point after this event, as in SetUpdate."""
    restarted: bool = False
    """As in SetUpdate."""
    reconnected: bool = False
    """As in SetUpdate."""


RunSetEvent: TypeAlias = SetUpdate | CaughtUp
"""An event of a set of runs."""


class RunSet:
    """The picture of a set: its runs, by their ids, as the events of `watch_set` have told so far.

    At each CaughtUp, and whenever nothing is on its way, it is what `runs` lists for the same filter.
    """

    def __init__(self) -> None:
        self.runs: dict[str, RunStatus] = {}
        """The latest status of each run."""

    def add(self, event: RunSetEvent) -> None:
        """Add the next event."""
        if event.restarted:
            self.runs.clear()
        if isinstance(event, CaughtUp):
            return
        if event.event is SetEvent.LEFT or event.run is None:
            self.runs.pop(event.run_id, None)
        else:
            self.runs[event.run_id] = event.run


class SetStream:
    """The events of one set of runs, until `timeout` seconds have passed (None: for ever)."""

    lasts = True

    def __init__(
        self,
        wanted: RunFilter | None,
        outage: Outage,
        *,
        only_new: bool,
        include_results: bool,
        timeout: float | None,
        resume_token: bytes,
        clock: Clock = time.monotonic,
    ) -> None:
        if only_new and resume_token:
            raise InvalidParams.field("only_new", description="has no meaning after a resume token")
        self._filter = run_filter_to_proto(canonical(wanted))
        self._outage = outage
        self._only_new = only_new
        self._include_results = include_results
        self._token = resume_token
        self._clock = clock
        self._until = None if timeout is None else clock() + timeout
        self._results: list[model.ItemResult] = []
        self._restarted = self._cut = self._heard = self._told = False
        self._started = clock()

    def requests(self) -> list[runs_pb2.WatchRunsRequest]:
        """Return the requests for the events that have not been received."""
        self._started, self._heard = self._clock(), False
        self._results, self._restarted = [], False
        watch = runs_pb2.WatchSet(
            name=_NAME,
            filter=self._filter,
            resume_token=self._token,
            only_new=self._only_new and not self._token,
            include_results=self._include_results,
            max_response_message_bytes=ANY_SIZE,
        )
        return [runs_pb2.WatchRunsRequest(add_set=watch)]

    def call_timeout(self) -> float | None:
        """Return how many seconds the call may take; None: no limit."""
        return time_until(self._until, self._clock)

    def read_timeout(self) -> float | None:
        """A message may take as long as the call: nothing is sent while nothing happens."""
        return None

    def received(self, response: runs_pb2.WatchRunsResponse) -> RunSetEvent | None:
        """Return the event in a message; None if more of it is to come.

        Raises the error of the set, or Unavailable if the stream has to be started again.
        """
        kind = response.WhichOneof("event")
        if kind == "caught_up":
            return self._caught_up(response.caught_up)
        if kind == "update":
            return self._update(response)
        if kind == "error":
            raise watch_error(response.error)
        raise Unavailable("the gateway has stopped following the set too early")

    def ended(self, error: Exception | None) -> float | None:
        """Return how many seconds to pause before the stream is started again; None: its time has passed.

        `error` is the one that the stream ended with. Raises it if another stream would not help, or not in time.
        """
        now = self._clock()
        if self._until is not None and now >= self._until - EARLY_SECONDS and (self._told or error is None):
            return None
        if self._heard and now - self._started >= STABLE_SECONDS:
            self._outage.heard()
        self._cut, self._heard = True, False
        try:
            pause = self._outage.pause(error or Unavailable("the gateway has ended the stream too early"))
            return pause if self._until is None else min(pause, max(0.0, self._until - now))
        finally:
            del error  # It holds this frame.

    def _caught_up(self, response: runs_pb2.CaughtUp) -> CaughtUp:
        restarted, reconnected = self._point(response.resume_token, response.restarted)
        return CaughtUp(response.resume_token, restarted, reconnected)

    def _update(self, response: runs_pb2.WatchRunsResponse) -> SetUpdate | None:
        update = response.update
        if update.heartbeat:
            self._outage.heard(progress=False)
            return None
        run = None
        if update.HasField("run"):
            run = status_proto.run_status_from_proto(update.run, with_results=self._include_results)
            self._results += run.results or ()
        if not update.resume_token:  # More results are to come.
            self._heard = True
            self._restarted |= update.restarted
            self._outage.heard()
            return None
        restarted, reconnected = self._point(update.resume_token, update.restarted)
        results, self._results = self._results, []
        status = None
        if run is not None:
            whole = results if self._include_results and run.status.terminal else None
            status = run_status(structs.replace(run, results=whole))
        return SetUpdate(
            _EVENTS.get(response.set_event, SetEvent.CHANGED),
            response.run_id,
            status,
            update.revision,
            update.resume_token,
            restarted,
            reconnected,
        )

    def _point(self, token: bytes, restarted: bool) -> tuple[bool, bool]:
        """Go on after this point from now on. Return whether the set begins anew, and whether there was a cut."""
        self._outage.heard(progress=token != self._token)
        self._heard = self._told = True
        self._token = token
        told = restarted or self._restarted, self._cut
        self._restarted = self._cut = False
        return told
