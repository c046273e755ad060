"""Connections that processes hold: they end with these, however that happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self


class Lifelines:
    """A port that processes connect to, and hold the connection."""

    def __init__(self) -> None:
        self.port = 0
        self._connected: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._held: list[asyncio.StreamReader] = []
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """Listen."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._connected.put_nowait((reader, writer))

    async def held(self, number: int) -> None:
        """Wait until so many processes hold a connection."""
        while len(self._held) < number:
            self._held.append((await self._connected.get())[0])

    async def cut(self) -> None:
        """Wait until all of these processes are gone."""
        for reader in self._held:
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
