"""Large bodies of requests, written so that an answer that comes before the end of the body is not lost.

A server may refuse a request before it has read it, and close. The connection is then reset while the body is still
being written. If the transport of the event loop wrote it, the error would make it close with the answer unread in the
socket. So the transport only reads, and finds the answer, then the end of the connection; the body is written to the
same socket beside it. The buffer of a socket that was reset can still be read on Linux, but not on all systems.
"""

import asyncio
import os
import socket
from typing import Final

from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

LARGE: Final = 1 << 16
"""From this size on, a body is written in slices. A smaller one goes to the system in one piece, before any answer."""

_SLICE: Final = 1 << 16
"""How much is written in one turn of the event loop, in bytes."""


def request_body(content: bytes) -> "bytes | LargeBody":
    """Return the body of a request in the form that suits its size."""
    return LargeBody(content) if len(content) > LARGE else content


class LargeBody(Payload):
    """Bytes that are written in slices, until all are written or the connection ends.

    Over TLS only the transport can write: there, an answer before a reset may be lost.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    @property
    def autoclose(self) -> bool:
        return True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._content.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body. Errors are not raised here: reading from the connection tells how it has ended."""
        try:
            transport = writer.transport if isinstance(writer, StreamWriter) else None
            if isinstance(writer, StreamWriter) and transport and transport.get_extra_info("sslcontext") is None:
                await _flush(writer, transport)
                await self._write_beside(transport)
            else:
                await self._write_through(writer)
        except OSError:
            # The request ends when its answer, or the end of the connection, has been read. That cancels this.
            await asyncio.get_running_loop().create_future()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, whose length is the one in the header."""
        await self.write(writer)

    async def _write_through(self, writer: AbstractStreamWriter) -> None:
        """Write by the transport."""
        content = memoryview(self._content)
        for start in range(0, len(content), _SLICE):
            await writer.write(content[start : start + _SLICE])
            await asyncio.sleep(0)

    async def _write_beside(self, transport: asyncio.Transport) -> None:
        """Write to the socket of the transport by another descriptor, while the transport reads."""
        loop = asyncio.get_running_loop()
        content = memoryview(self._content)
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
            connection.setblocking(False)
            for start in range(0, len(content), _SLICE):
                await loop.sock_sendall(connection, content[start : start + _SLICE])
                await asyncio.sleep(0)


async def _flush(writer: StreamWriter, transport: asyncio.Transport) -> None:
    """Send the headers, and wait until the transport has nothing left to write."""
    transport.set_write_buffer_limits(0)
    writer.send_headers()
    await writer.drain()
    transport.set_write_buffer_limits()
