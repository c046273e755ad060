"""Watching the runs of an engine: the current state at once, then the latest one after each change, until the end.

Two sources are followed side by side. The state of the run, which the engine holds back until the run is over, for some
seconds at a time, tells of its end at once. The event stream, where there is one, tells of the steps; engines send
it with up to half a second of delay, never tell of a cancellation there, and releases before 0.12 have none.

An engine that is away is waited for: it may be restarting.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, Final

from aiohttp import ClientResponse

from gateway.concurrency.notify import Notify
from gateway.core.backoff import Backoff
from gateway.core.errors import RemoteError, Unavailable, shutting_down
from gateway.core.model import RunStatus
from gateway.core.runtime import Snapshot
from gateway.peers.http.sse import EventReader, EventTooLarge
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.progress import MalformedEvent, Progress, snapshot

PATIENCE: Final = 30.0
"""Seconds that the engine may be away before watches end with Unavailable."""

FIRST_WAIT: Final = 1
LAST_WAIT: Final = 16
"""For how many seconds the engine is to hold an answer back: at first, and at most. The time doubles while the run goes
on. It tells at once of what it executes itself. The end of a run of another orchestrator, where there are no events,
shows when the time is up: after as long again as the run has taken, or these seconds."""

FIRST_POLL: Final = 0.05
LAST_POLL: Final = 2.0
"""Seconds between two looks at a run for which the engine does not wait: at first, and later."""

POLLS_PER_SECOND: Final = 200
"""Looks at all such runs together: with more of them, each is looked at less often."""

STREAM_AFTER: Final = 0.1
"""Seconds for which a run is watched before its events are asked for: most are over, and nothing is missed."""

MAX_WAITS: Final = 256
MAX_STREAMS: Final = 256
"""How many connections waiting requests take, and how many event streams. The runs of further watches are looked at
from time to time, and told of without their steps."""

SILENCE_SECONDS: Final = 45.0
"""After so long without a sign of life, which an engine gives every 15 seconds, a stream is opened anew."""

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 1.0
"""Seconds between two attempts while the engine is away: at first, and later. Drawn at random from a half of it up."""

_EVENT_BYTES: Final = 4 << 20
_EVENTS_A_TURN: Final = 32
"""How many events are taken in before everybody else has a turn of the event loop: some 0.1 ms."""

_CONFIRMATIONS: Final = 6
"""How often the state of a run is read that has ended according to its events, which come a moment before."""

_EVENT_STREAM: Final = "text/event-stream"

_now = time.monotonic

_log = logging.getLogger(__name__)

ReadState = Callable[[str, int], Awaitable[RunStatus]]
"""Reads the state of a run, without results; the engine holds it back for so many seconds, or until the run is over.
Unavailable, RemoteError; RunNotFound."""


class Watches:
    """All watches of an engine's runs. `streams` says that it has event streams."""

    def __init__(self, engine: EngineRestClient, read: ReadState, *, streams: bool, patience: float = PATIENCE) -> None:
        self.engine = engine
        self.read = read
        self.has_streams = streams
        self.streams = asyncio.Semaphore(MAX_STREAMS)
        self.waits = asyncio.Semaphore(MAX_WAITS)
        self.patience = patience
        self._open: set[_Watch] = set()
        self._draining = False

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Yield the current state at once, then the latest after each change, and end after a terminal one.

        Unavailable if the engine stays away, and after `drain`; RunNotFound if it does not know the run (any more).
        """
        self._refuse_if_draining()
        watch = _Watch(self, run_id)
        self._open.add(watch)
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
            self._open.discard(watch)
            await watch.close()

    def drain(self) -> None:
        """End all watches with Unavailable."""
        self._draining = True
        for watch in self._open:
            watch.changed.set()

    def poll_seconds(self) -> float:
        """The longest time between two looks at a run."""
        return max(LAST_POLL, len(self._open) / POLLS_PER_SECOND)

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()


class _Watch:
    """One run that is watched: what is known of it, and the tasks that find it out."""

    def __init__(self, watches: Watches, run_id: str) -> None:
        self.changed = Notify()
        self._watches = watches
        self._run_id = run_id
        self._status: RunStatus | None = None
        self._progress: Progress | None = None
        self._failure: Exception | None = None
        self._tasks = [self._start(self._follow_state())]

    def snapshot(self) -> Snapshot | None:
        """What is known; None if it is nothing yet. Raises what has ended the watch."""
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
            self._failure = failure
            self.changed.set()

    async def _follow_state(self) -> None:
        watches, outage = self._watches, _Outage(self._watches.patience)
        wait, polls = FIRST_WAIT, Backoff(FIRST_POLL, math.inf)
        while True:
            # At first, what there is at once.
            seconds = 0 if self._status is None or watches.waits.locked() else wait
            asked = _now()
            try:
                if self._learn(await self._read(seconds)):
                    return
            except (Unavailable, RemoteError) as error:
                await outage.pause(error)
                continue
            outage.over()
            if len(self._tasks) == 1 and watches.has_streams:
                self._tasks.append(self._start(self._follow_events()))
            if seconds and _now() - asked >= seconds / 2:
                wait = min(2 * wait, LAST_WAIT)
            elif seconds or watches.waits.locked():
                # The engine did not wait, or cannot be asked to.
                await asyncio.sleep(min(polls.next(), watches.poll_seconds()))

    async def _read(self, seconds: int) -> RunStatus:
        if not seconds:
            return await self._watches.read(self._run_id, 0)
        async with self._watches.waits:
            return await self._watches.read(self._run_id, seconds)

    def _learn(self, status: RunStatus) -> bool:
        """Take in a state; whether the run is over. What has ended stays so."""
        if self._status is None or not self._status.status.terminal:
            self._status = status
            self.changed.set()
        return self._status.status.terminal

    async def _follow_events(self) -> None:
        assert self._status is not None
        self._progress = Progress(self._run_id, self._status.items.total)
        delay, again = STREAM_AFTER, Backoff(LAST_DELAY, LAST_DELAY, jitter=0.5)
        while not self._progress.ended:
            await asyncio.sleep(delay)
            delay = LAST_WAIT
            if self._watches.streams.locked():
                continue
            try:
                async with self._watches.streams:
                    if not await self._stream(self._progress):
                        return
            except (Unavailable, RemoteError):
                pass  # Whether the engine is away, its state tells; the events wait in its journal.
            except (MalformedEvent, EventTooLarge) as error:
                _log.warning("run %s is watched without its events: the engine has sent %r", self._run_id, error)
                return
            delay = again.next()
        await self._confirm()

    async def _stream(self, progress: Progress) -> bool:
        """Take events in until the stream ends; False if there is none."""
        path = f"/runs/{self._run_id}/events?runId={self._run_id}&since={progress.position}"
        async with self._watches.engine.events(path) as response:
            if response.status != 200 or response.content_type != _EVENT_STREAM:
                return response.status >= 500
            reader = EventReader(_EVENT_BYTES)
            folded = 0
            while chunk := await _next_chunk(response):
                for data in reader.feed(chunk):
                    progress.fold(data)
                    folded += 1
                    if not folded % _EVENTS_A_TURN:
                        self.changed.set()
                        await asyncio.sleep(0)
                self.changed.set()
                if progress.ended:
                    break
        return True

    async def _confirm(self) -> None:
        """Read the state of a run that has ended. If it does not say so in time, that shows later."""
        backoff = Backoff(FIRST_DELAY, LAST_DELAY)
        for _ in range(_CONFIRMATIONS):
            try:
                if self._learn(await self._watches.read(self._run_id, 0)):
                    return
            except (Unavailable, RemoteError):
                return
            await asyncio.sleep(backoff.next())


class _Outage:
    """For how long an engine has been away."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: float | None = None
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)

    def over(self) -> None:
        self._since = None
        self._backoff.reset()

    async def pause(self, failure: Exception) -> None:
        """Wait before the next attempt. Raises what the last one ended with, if patience is exhausted."""
        now = _now()
        if self._since is None:
            self._since = now
        delay = self._backoff.next()
        if now + delay - self._since > self._patience:
            raise failure
        await asyncio.sleep(delay)


async def _next_chunk(response: ClientResponse) -> bytes:
    async with asyncio.timeout(SILENCE_SECONDS):
        return await response.content.readany()
