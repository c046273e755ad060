"""A TCP proxy that cuts connections after so many bytes of answers."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from tests.support.listening import listening

_PART: Final = 16 << 10


class CuttingProxy:
    """Each connection in turn takes from `limits` how many bytes it may bring; when there is none left, any number.

    `cuts` counts those that were cut.
    """

    def __init__(self, server: str, limits: Iterable[int] = ()) -> None:
        self.address = ""
        self.cuts = 0
        host, _, port = server.rpartition(":")
        self._server = host, int(port)
        self._limits = iter(limits)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CuttingProxy"]:
        """Listen on a free port."""
        async with listening(self._connected) as port:
            self.address = f"127.0.0.1:{port}"
            yield self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._server)
        requests = asyncio.create_task(_copied(reader, server_writer))
        try:
            await self._answers(server_reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)
            server_writer.transport.abort()
            writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = next(self._limits, None)
        while data := await reader.read(_PART):
            if left is not None:
                left -= len(data)
                if left < 0:
                    self.cuts += 1
                    return
            writer.write(data)
            await writer.drain()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PART):
        writer.write(data)
        await writer.drain()
