"""The other side of the component `hold`, which executes for as long as a test wants."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Held:
    """Where the component `hold` connects to; each connection holds one task."""

    def __init__(self) -> None:
        self.port = 0
        self.count = 0
        self._held: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def next(self) -> Callable[[], None]:
        """Wait for a task; what lets it go on."""
        return (await self._held.get()).close

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Held"]:
        """Take connections."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        self._writers.append(writer)
        await self._held.put(writer)
