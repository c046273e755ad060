"""A TCP proxy that can stop bringing bytes, or answer HTTP requests itself with an error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.support.listening import listening

_PART: Final = 64 << 10


class ByteProxy:
    """Stands before a server of HTTP on loopback."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.answers: list[bytes] = []
        """What the next connections are told instead, one each."""
        self.passing = asyncio.Event()
        self.passing.set()
        """Cleared, no byte passes."""
        self.stop_after: int | None = None
        """After so many bytes of answers nothing passes any more."""
        self.stopped = asyncio.Event()
        """Set when that has happened."""
        self._server = port

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ByteProxy"]:
        """Listen on a free port."""
        async with listening(self._connected) as port:
            self.port = port
            yield self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = self.answers.pop(0) if self.answers else None
        try:
            if told is not None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(told)
                await writer.drain()
                return
            await self._between(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server)
        requests = asyncio.create_task(self._copy(reader, server_writer))
        answers = asyncio.create_task(self._copy(server_reader, writer, answers=True))
        try:
            await asyncio.wait((requests, answers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            requests.cancel()
            answers.cancel()
            await asyncio.gather(requests, answers, return_exceptions=True)
            server_writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        while data := await reader.read(_PART):
            await self.passing.wait()
            if answers and self.stop_after is not None:
                self.stop_after -= len(data)
                if self.stop_after <= 0:
                    self.passing.clear()
                    self.stopped.set()
            writer.write(data)
            await writer.drain()


def answer(status: str, body: str = "") -> bytes:
    """An answer after which the connection is closed."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
