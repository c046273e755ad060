"""The runs service: waiting, ordering, resuming and time-outs over any runtime. Knows no transport."""

import math
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Self

from gateway.core.errors import InvalidBlobId, InvalidRunId, Violation
from gateway.core.model import (
    Blob,
    GetParams,
    ResultOrder,
    RunStatus,
    SubmitParams,
    blob_digest,
    blob_id_of,
    canonical_run_id,
)
from gateway.core.position import Position
from gateway.core.runtime import Runtime, Snapshot, text_size
from gateway.runs.hub import GRACE_SECONDS, Hub, Update, plain_update

DEADLINE_MARGIN = 0.1
"""Seconds before its deadline at which a waiting call answers with the current status: time to send the answer."""


class RunsService:
    """Answers the runs methods over one runtime.

    `deadline` is a value of `time.monotonic()` by which the caller must have its answer: a waiting call answers shortly
    before with the current status. Cancelling a call stops the waiting, never the run. All who wait for a run share one
    watch of it, which is kept for `grace` seconds when the last one has left.
    """

    def __init__(self, runtime: Runtime, *, grace: float = GRACE_SECONDS) -> None:
        self.hub = Hub(runtime, grace=grace)
        self._runtime = runtime

    async def put_blob(self, blob: Blob) -> str:
        """Store a blob and return its canonical id."""
        return await self._runtime.put_blob(blob)

    async def get_blob(self, blob_id: str) -> Blob:
        """Return a blob."""
        return await self._runtime.get_blob(_blob_id(blob_id, "blob_id"))

    async def submit(
        self,
        params: SubmitParams,
        *,
        scope: str = "",
        deadline: float | None = None,
        max_results_text: int | None = None,
    ) -> RunStatus:
        """Submit a run; with `wait`, return its final status and results, or the current ones when time is up.

        An idempotency key counts within `scope`: the task that submits, or "" for callers outside of any task. Results
        with more than `max_results_text` characters of text are left out: they are None.
        """
        flow_id = _blob_id(params.flow_id, "flow_id")
        if flow_id != params.flow_id:
            params = params.model_copy(update={"flow_id": flow_id})
        until = _until(params.timeout, deadline)
        snapshot = await self._runtime.submit(params, scope)
        if not params.wait:
            return snapshot.status
        snapshot = await self._wait(snapshot, until)
        return await self._with_results(snapshot, ResultOrder.BY_INDEX, max_results_text)

    async def get(self, params: GetParams, *, deadline: float | None = None) -> RunStatus:
        """Return the status of a run; with `wait`, when it has finished or time is up."""
        run_id = _run_id(params.run_id)
        until = _until(params.timeout, deadline)
        snapshot = await self._runtime.get(run_id)
        if params.wait:
            snapshot = await self._wait(snapshot, until)
        if not params.include_results:
            return snapshot.status
        return await self._with_results(snapshot, params.result_order)

    async def follow(self, params: GetParams, *, deadline: float | None = None) -> AsyncGenerator[Update, None]:
        """Yield the current state, then each change; results are those that were not sent. Close it explicitly.

        Folds to the answer of `get`: the last status, with all results in the order in which they came. It goes on
        after the position that the resume token names; a token that cannot be understood starts anew, and the first
        update says so. When nothing has happened for the heartbeat interval, an update says so, too.
        """
        with self.follower(params, deadline=deadline) as follower:
            while (update := await follower.next()) is not None:
                yield update
                del update  # It may hold a mebibyte of results, and the next one may be hours away.

    def follower(
        self, params: GetParams, *, deadline: float | None = None, on_change: Callable[[], None] | None = None
    ) -> "Follower":
        """Follow a run as `follow` does, for callers that follow many runs in one task: see `Follower.poll`."""
        return Follower(self.hub, self._runtime, params, _until(params.timeout, deadline), on_change)

    async def close(self) -> None:
        """End everything that follows runs: it gets Unavailable."""
        await self.hub.close()

    async def _wait(self, snapshot: Snapshot, until: float | None) -> Snapshot:
        """The terminal snapshot, or the current one at `until`."""
        if _terminal(snapshot):
            return snapshot
        with self.hub.watch(snapshot.status.run_id) as watch:
            while not _terminal(snapshot) and (until is None or time.monotonic() < until):
                following = await watch.changed(until)
                if following is not None and following.revision > snapshot.revision:
                    snapshot = following
        return snapshot

    async def _with_results(self, snapshot: Snapshot, order: ResultOrder, max_text: int | None = None) -> RunStatus:
        """The status with all results that there are; without any if they exceed `max_text` characters."""
        limit = math.inf if max_text is None else max_text
        results = list(snapshot.results or ()) if order is ResultOrder.BY_INDEX else []
        size = sum(map(text_size, results))
        position = Position(order)
        while size <= limit and len(results) < snapshot.completions:
            page = position.missing(snapshot, last=True)
            if page is None:
                break
            part = await self._runtime.results(snapshot.status.run_id, page)
            results += part
            size += sum(map(text_size, part))
            position = position.after(page, part, snapshot)
        return snapshot.status.model_copy(update={"results": results}) if size <= limit else snapshot.status


class Follower:
    """Follows one run; it closes itself as a context. `ended` says that no update can come any more."""

    __slots__ = (
        "_heartbeat",
        "_hub",
        "_interval",
        "_last",
        "_more",
        "_order",
        "_params",
        "_position",
        "_run_id",
        "_runtime",
        "_snapshot",
        "_until",
        "_watch",
        "_with_results",
        "ended",
    )

    def __init__(
        self,
        hub: Hub,
        runtime: Runtime,
        params: GetParams,
        until: float | None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.ended = False
        self._run_id = _run_id(params.run_id)
        self._hub = hub
        self._runtime = runtime
        self._params = params
        # What is looked at for each update is kept here: with thousands of followers, each further object that has to
        # be visited is one that is in no cache.
        self._with_results = params.include_results
        self._interval = params.heartbeat_interval
        self._order = params.result_order
        self._until = until
        self._position: Position | None = None
        self._snapshot: Snapshot | None = None
        self._heartbeat = 0.0
        self._last = not params.wait
        self._more = False
        self._watch = hub.watch(self._run_id, on_change) if params.wait else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Follow no more."""
        self.ended = True
        if self._watch is not None:
            self._watch.close()

    async def next(self) -> Update | None:
        """Wait for the next update; None at the end."""
        while True:
            # Without results nothing has to be awaited for an update, and this is done for each of thousands of them.
            at_hand = self._snapshot is not None and not self._with_results
            update = self._latest() if at_hand else await self.poll()
            if update is not None or self.ended or self._watch is None:
                return update
            await self._watch.woken()

    async def poll(self) -> Update | None:
        """The next update, if there is one now.

        After None, poll again when `on_change` has been called, unless `ended`. It is also called when a time has come.
        """
        if self.ended:
            return None
        if self._snapshot is None:
            return await self._begin()
        if self._more:
            update = await self._update(self._snapshot)
            # The end of a sweep shows only when nothing is left to send.
            if update.status.results:
                return update
        if not self._with_results:
            return self._latest()
        if not self._advance():
            return self._idle()
        return await self._update(self._snapshot)

    def _latest(self) -> Update | None:
        """The next update, of a run that is followed without results."""
        if not self._advance():
            return self._idle()
        assert self._snapshot is not None
        return self._plain(self._snapshot)

    def _advance(self) -> bool:
        """Go on to the next state to send; False if there is none now."""
        if self._last or self._watch is None:
            self.ended = True
            return False
        assert self._snapshot is not None
        following = self._watch.latest()
        time_is_up = self._until is not None and time.monotonic() >= self._until
        if following is not None and following.revision > self._snapshot.revision:
            self._snapshot = following
        elif not time_is_up:
            return False
        # When time is up, the state that was sent last may be sent again: now with all results that there are.
        self._last = time_is_up or _terminal(self._snapshot)
        return True

    async def _begin(self) -> Update | None:
        snapshot = await self._runtime.get(self._run_id) if self._watch is None else self._watch.latest()
        if snapshot is None:
            return None
        restarted = False
        if token := self._params.resume_token:
            position = Position.from_token(token, self._run_id, self._params.result_order)
            if position is not None and self._watch is not None and not position.fits(snapshot):
                # It was given by another server perhaps, which had heard of a later state.
                current = await self._runtime.get(self._run_id)
                snapshot = current if current.revision > snapshot.revision else snapshot
            if position is not None and position.fits(snapshot):
                self._position = position if position.started else None
            else:
                restarted = True
        self._snapshot = snapshot
        self._last = self._last or _terminal(snapshot)
        update = await self._update(snapshot)
        return replace(update, restarted=True, built={}) if restarted else update

    async def _update(self, snapshot: Snapshot) -> Update:
        if self._with_results:
            position = self._position or Position(self._order)
            update = await self._hub.results_after(snapshot, position, last=self._last)
            self._position = update.position
            self._more = update.more
            self._set_heartbeat()
            return update
        return self._plain(snapshot)

    def _plain(self, snapshot: Snapshot, *, heartbeat: bool = False) -> Update:
        """An update without results."""
        self._set_heartbeat()
        if self._watch is None or self._position is not None:
            return plain_update(snapshot, self._position or Position(self._order), heartbeat=heartbeat)
        return self._watch.plain(snapshot, self._order, heartbeat=heartbeat)

    def _set_heartbeat(self) -> None:
        """Something is sent: the next heartbeat is due an interval from now."""
        if self._interval is not None:
            self._heartbeat = time.monotonic() + self._interval

    def _idle(self) -> Update | None:
        """A heartbeat if it is due. Else None: to be woken when one is, or when time is up."""
        wake_at = self._until
        if self._watch is None or self.ended:
            return None
        if self._interval is not None:
            if self._snapshot is not None and time.monotonic() >= self._heartbeat:
                return self._plain(self._snapshot, heartbeat=True)
            wake_at = self._heartbeat if wake_at is None else min(wake_at, self._heartbeat)
        if wake_at is not None:
            self._watch.wake_at(wake_at)
        return None


def _terminal(snapshot: Snapshot) -> bool:
    return snapshot.status.status.terminal


def _until(timeout: float | None, deadline: float | None) -> float | None:
    """When waiting ends, as a value of `time.monotonic()`; None for never."""
    ends = []
    if timeout is not None:
        ends.append(time.monotonic() + timeout)
    if deadline is not None:
        ends.append(deadline - DEADLINE_MARGIN)
    return min(ends, default=None)


def _blob_id(text: str, field: str) -> str:
    digest = blob_digest(text)
    if digest is None:
        raise InvalidBlobId([Violation((field,), "expected 'sha256:' and 64 hex digits, or the digits alone")])
    return blob_id_of(digest)


def _run_id(text: str) -> str:
    run_id = canonical_run_id(text)
    if run_id is None:
        raise InvalidRunId([Violation(("run_id",), "expected a UUID")])
    return run_id
