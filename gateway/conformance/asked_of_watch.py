"""What a client asks for on a stream of WatchRuns, read while the server writes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from runs.v1 import runs_pb2

_MOST: Final = 1_000
"""So many requests are read ahead."""


class AskedOfWatch:
    """The requests of one stream, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[runs_pb2.WatchRunsRequest | None] = asyncio.Queue(_MOST)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the client has closed its side, and all that it asked for was taken."""
        return self._closed

    @property
    def waiting(self) -> bool:
        """Whether something is there to be taken."""
        return not self._queue.empty()

    async def take(self) -> runs_pb2.WatchRunsRequest | None:
        """The next request; None if the client has closed its side."""
        if self._closed:
            return None
        request = await self._queue.get()
        self._closed = request is None
        return request

    async def read(self, requests: AsyncIterator[runs_pb2.WatchRunsRequest]) -> None:
        """Read all that the client asks for."""
        async for request in requests:
            await self._queue.put(request)
        await self._queue.put(None)


@asynccontextmanager
async def asked_of(requests: AsyncIterator[runs_pb2.WatchRunsRequest]) -> AsyncIterator[AskedOfWatch]:
    """Read the requests of a stream while the block lasts."""
    asked = AskedOfWatch()
    reading = asyncio.create_task(asked.read(requests))
    try:
        yield asked
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # A client that has broken off is known by its call.
