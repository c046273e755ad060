"""The event stream of one run: read until the run has ended, also over restarts of the engine.

Engines send events with up to half a second of delay, and never one of a cancellation. Releases before 0.12 have no
event streams.
"""

import asyncio
import logging
from typing import Final

from aiohttp import ClientResponse

from gateway.concurrency.notify import Notify
from gateway.core.backoff import Backoff
from gateway.core.errors import RemoteError, Unavailable
from gateway.peers.http.sse import EventReader, EventTooLarge
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.progress import MalformedEvent, Progress
from gateway.telemetry.run_log import of_run

STREAM_AFTER: Final = 0.1
"""Seconds before the stream is opened. Most runs are over by then; the stream of the others begins with all events."""

REOPEN_SECONDS: Final = 1.0
"""The most seconds before a stream that has ended is opened again. Half of the time is drawn at random."""

BUSY_SECONDS: Final = 16.0
"""Seconds before another attempt when there are as many streams as there may be."""

SILENCE_SECONDS: Final = 45.0
"""A stream is opened again after so many seconds without data. An engine sends some every 15 seconds."""

_EVENT_BYTES: Final = 4 << 20
_EVENTS_A_TURN: Final = 32
"""How many events are processed, in about 0.1 ms, before other tasks have a turn of the event loop."""

_CONTENT_TYPE: Final = "text/event-stream"

_log = logging.getLogger(__name__)


class RunEvents:
    """Folds the events of a run into `progress`, and notifies `changed`. `streams` limits the number of streams."""

    def __init__(
        self, engine: EngineRestClient, streams: asyncio.Semaphore, progress: Progress, changed: Notify
    ) -> None:
        self._engine = engine
        self._streams = streams
        self._progress = progress
        self._changed = changed

    async def follow(self) -> bool:
        """Read events until they tell that the run has ended. Return False if the engine sends no usable events."""
        delay, reopening = STREAM_AFTER, Backoff(REOPEN_SECONDS, REOPEN_SECONDS, jitter=0.5)
        while not self._progress.ended:
            await asyncio.sleep(delay)
            delay = BUSY_SECONDS
            if self._streams.locked():
                continue
            try:
                async with self._streams:
                    if not await self._read_stream():
                        return False
            except (Unavailable, RemoteError):
                pass  # The state of the run tells whether the engine is away. Its journal keeps the events.
            except (MalformedEvent, EventTooLarge) as error:
                run_id = self._progress.run_id
                _log.warning(
                    "run %s is watched without its events: unexpected event %r", run_id, error, extra=of_run(run_id)
                )
                return False
            delay = reopening.next()
        return True

    async def _read_stream(self) -> bool:
        """Process events until the stream ends. Return False if the engine has no stream."""
        progress = self._progress
        path = f"/runs/{progress.run_id}/events?runId={progress.run_id}&since={progress.position}"
        async with self._engine.events(path) as response:
            if response.status != 200 or response.content_type != _CONTENT_TYPE:
                return response.status >= 500
            reader = EventReader(_EVENT_BYTES)
            folded = 0
            while chunk := await _next_chunk(response):
                for data in reader.feed(chunk):
                    if data is not None:
                        progress.fold(data)
                    folded += 1
                    if not folded % _EVENTS_A_TURN:
                        self._changed.set()
                        await asyncio.sleep(0)
                self._changed.set()
                if progress.ended:
                    break
        return True


async def _next_chunk(response: ClientResponse) -> bytes:
    async with asyncio.timeout(SILENCE_SECONDS):
        return await response.content.readany()
