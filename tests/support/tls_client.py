"""A client of TLS that says exactly what is sent when, and that can close its side and read on."""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final, Self

READ_AHEAD: Final = 128 << 10
"""How much is read that the test has not asked for, in bytes."""


class TlsStream:
    """A connection over TLS: what a `StreamWriter` offers, and the reader to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self._below, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.reader = asyncio.StreamReader()
        self.transport = writer.transport
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> Self:
        """Shake hands on a connection that is there. Raises ssl.SSLError or ConnectionError if that fails."""
        stream = cls(reader, writer, context)
        try:
            while not stream._advanced():
                await stream._receive()
        except BaseException:
            writer.close()
            raise
        stream._pump = asyncio.create_task(stream._decrypt())
        return stream

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.write(rest) :]
        self._flush()

    def close_notify(self) -> None:
        """Say by TLS that nothing more comes."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._flush()

    async def drain(self) -> None:
        await self._writer.drain()

    def write_eof(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        self._writer.close()

    async def wait_closed(self) -> None:
        if self._pump is not None:
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._writer.wait_closed()

    def _advanced(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    async def _receive(self) -> None:
        held: Any = self.reader
        while len(held._buffer) > READ_AHEAD and held._waiter is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        data = await self._below.read(1 << 16)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        self._incoming.write(data)

    async def _decrypt(self) -> None:
        try:
            while True:
                try:
                    while data := self.tls.read(1 << 16):
                        self.reader.feed_data(data)
                    break  # The server has said the end.
                except ssl.SSLWantReadError:
                    await self._receive()
                except ssl.SSLZeroReturnError:
                    break  # So has this side.
        except (ConnectionError, ssl.SSLError) as error:
            self.reader.set_exception(error)
        self.reader.feed_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
