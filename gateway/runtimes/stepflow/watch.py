"""Watching the runs of an engine: the current state at once, then the latest one after each change, until the end.

Two sources are followed side by side. The engine holds back the state of a run for some seconds, or until the run is
over: so the end shows at once. The event stream, where there is one, shows how far the steps are.

A watch goes on when an engine that was away, as during a restart, comes back in time.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from gateway.concurrency.notify import Notify
from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, RemoteError, Unavailable, shutting_down
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import RunStatus
from gateway.core.runtime import Snapshot
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.events import RunEvents
from gateway.runtimes.stepflow.outage import EngineOutage
from gateway.runtimes.stepflow.progress import Progress, snapshot
from gateway.telemetry.run_log import of_run

PATIENCE: Final = 30.0
"""Seconds that the engine may be away before watches end with Unavailable."""

FIRST_WAIT: Final = 1
LAST_WAIT: Final = 16
"""For how many seconds the engine holds an answer back: at first, and at most. The time doubles while the run goes on.
The end of a run that the engine executes itself shows at once. The end of a run of another orchestrator, where there
are no events, shows when the time is up: after as long again as the run has taken, or after LAST_WAIT."""

FIRST_POLL: Final = 0.05
LAST_POLL: Final = 2.0
"""Seconds between two reads of a state that the engine does not hold back: at first, and later."""

POLLS_PER_SECOND: Final = 200
"""The most reads of all such states together: the more there are, the less often each is read."""

MAX_WAITS: Final = 256
MAX_STREAMS: Final = 256
"""How many connections wait for states, and how many read events. The states of further runs are polled, and their
steps are not followed."""

EVENTS_SECONDS: Final = 5.0
"""How long the events of a run may take to come again."""

_CONFIRMATIONS: Final = 6
"""How often the state of a run is read after an event of its end, which comes a moment before the state changes."""

_CONFIRM_FIRST: Final = 0.05
_CONFIRM_LAST: Final = 1.0
"""Seconds between these reads: at first, and at most."""

_now = time.monotonic

ReadState = Callable[[str, int], Awaitable[RunStatus]]
"""Reads the state of a run, without results. The engine holds it back for so many seconds, or until the run is over.
Raises Unavailable, RemoteError or RunNotFound if it cannot be read."""


class Watches:
    """All watches of an engine's runs. `has_streams`: whether the engine has event streams."""

    def __init__(
        self, engine: EngineRestClient, read: ReadState, *, has_streams: bool, patience: float = PATIENCE
    ) -> None:
        self.engine = engine
        self.read = read
        self.has_streams = has_streams
        self.streams = asyncio.Semaphore(MAX_STREAMS)
        self.waits = asyncio.Semaphore(MAX_WAITS)
        self.patience = patience
        self._open: dict[str, set[_EventWatch]] = {}
        """The watches that are open, by the run."""
        self._count = 0
        self._draining = False

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Yield the current state at once, then the latest one after each change, and end after a terminal one.

        Raises Unavailable if the engine stays away or `drain` was called, and RunNotFound if the engine does not know
        the run, or has forgotten it.
        """
        self._refuse_if_draining()
        watch = _EventWatch(self, run_id)
        self._enter(watch)
        revision = None
        try:
            while True:
                current = watch.snapshot()
                if current is not None and current.revision != revision:
                    revision = current.revision
                    yield current
                    if current.terminal:
                        return
                    continue
                self._refuse_if_draining()
                await watch.changed.wait()
        finally:
            self._leave(watch)
            await watch.close()

    async def state_since(self, run_id: str, revision: int) -> Snapshot | None:
        """Return a state with this revision or a later one; None if the events do not tell of it.

        Only events tell how far a run is that goes on. They are read again, from the first one on.
        """
        try:
            async with asyncio.timeout(EVENTS_SECONDS), aclosing(self.watch(run_id)) as states:
                async for state in states:
                    if state.revision >= revision:
                        return state
        except TimeoutError:
            pass
        return None

    def tell(self, status: RunStatus) -> None:
        """Let the watches of a run know its state, which this gateway has changed."""
        for watch in self._open.get(status.run_id, ()):
            watch.learn(status)

    def drain(self) -> None:
        """End all watches with Unavailable."""
        self._draining = True
        for watches in self._open.values():
            for watch in watches:
                watch.changed.set()

    def poll_seconds(self) -> float:
        """Return the longest time between two reads of a state."""
        return max(LAST_POLL, self._count / POLLS_PER_SECOND)

    def _enter(self, watch: "_EventWatch") -> None:
        self._open.setdefault(watch.run_id, set()).add(watch)
        self._count += 1

    def _leave(self, watch: "_EventWatch") -> None:
        watches = self._open[watch.run_id]
        watches.discard(watch)
        self._count -= 1
        if not watches:
            del self._open[watch.run_id]

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()


class _EventWatch:
    """One watched run: what is known of it, and the tasks that read its state and its events."""

    def __init__(self, watches: Watches, run_id: str) -> None:
        self.changed = Notify()
        self._watches = watches
        self.run_id = run_id
        self._status: RunStatus | None = None
        self._progress: Progress | None = None
        self._failure: GatewayError | None = None
        self._tasks = [self._start(self._follow_state())]

    def snapshot(self) -> Snapshot | None:
        """Return what is known; None if nothing is known yet. Raises the exception that has ended the watch."""
        status = self._status
        if self._failure is not None and not (status and status.status.terminal):
            raise self._failure
        return snapshot(status, self._progress) if status else None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return asyncio.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as failure:
            self._failure = error_to_tell(failure, partial(of_run, self.run_id))
            self.changed.set()

    async def _follow_state(self) -> None:
        watches, outage = self._watches, EngineOutage(self._watches.patience)
        wait, polls = FIRST_WAIT, Backoff(FIRST_POLL, math.inf)
        while True:
            # The first state is not to be held back.
            seconds = 0 if self._status is None or watches.waits.locked() else wait
            asked = _now()
            try:
                if self.learn(await self._read(seconds)):
                    return
            except (Unavailable, RemoteError) as error:
                await outage.pause(error)
                continue
            outage.end()
            if len(self._tasks) == 1 and watches.has_streams:
                self._tasks.append(self._start(self._follow_events()))
            if seconds and _now() - asked >= seconds / 2:
                wait = min(2 * wait, LAST_WAIT)
            elif seconds or watches.waits.locked():
                # The engine has not held the state back, or all connections for that are in use.
                await asyncio.sleep(min(polls.next(), watches.poll_seconds()))

    async def _read(self, seconds: int) -> RunStatus:
        if not seconds:
            return await self._watches.read(self.run_id, 0)
        async with self._watches.waits:
            return await self._watches.read(self.run_id, seconds)

    def learn(self, status: RunStatus) -> bool:
        """Take over a state, unless a terminal one is known already. Return whether the run is over."""
        if self._status is None or not self._status.status.terminal:
            self._status = status
            self.changed.set()
        return self._status.status.terminal

    async def _follow_events(self) -> None:
        assert self._status is not None
        self._progress = Progress(self.run_id, self._status.items.total)
        watches = self._watches
        if await RunEvents(watches.engine, watches.streams, self._progress, self.changed).follow():
            await self._confirm()

    async def _confirm(self) -> None:
        """Read the state of a run that has ended according to its events, until it agrees or attempts are used up."""
        backoff = Backoff(_CONFIRM_FIRST, _CONFIRM_LAST)
        for _ in range(_CONFIRMATIONS):
            try:
                if self.learn(await self._watches.read(self.run_id, 0)):
                    return
            except (Unavailable, RemoteError):
                return
            await asyncio.sleep(backoff.next())
