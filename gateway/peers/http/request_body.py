"""Large bodies of requests, written so that an answer that comes before the end of the body is not lost.

A server may refuse a request before it has read it, and close. The connection is then reset while the body is still
being written. If the transport of the event loop wrote it, the error would make it close with the answer unread in the
socket. So the transport only reads, and finds the answer, then the end of the connection; the body is written to the
same socket beside it. The buffer of a socket that was reset can still be read on Linux, but not on all systems.
"""

import asyncio
import os
import select
import socket
from typing import Final

from aiohttp import BytesPayload, Payload
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from gateway.peers.http.receipt import Receipt

LARGE: Final = 1 << 16
"""From this size on, a body is written in slices. A smaller one goes to the system in one piece, before any answer."""

_SLICE: Final = 1 << 16
"""How much is written in one turn of the event loop, in bytes."""


def request_body(content: bytes, receipt: Receipt | None = None) -> "bytes | SmallBody | LargeBody":
    """Return the body of a request in the form that suits its size. `receipt` is told when it is written."""
    if len(content) > LARGE:
        return LargeBody(content, receipt)
    return content if receipt is None else SmallBody(content, receipt)


class SmallBody(BytesPayload):
    """Bytes that are written in one piece, of whose receipt something is to be known."""

    def __init__(self, content: bytes, receipt: Receipt) -> None:
        super().__init__(content)
        self._receipt = receipt

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, and before it the headers, which have been kept back until now."""
        assert isinstance(writer, StreamWriter)
        self._receipt.begin(writer.transport)
        await super().write_with_length(writer, content_length)


class LargeBody(Payload):
    """Bytes that are written in slices, until all are written or the connection ends.

    Over TLS only the transport can write. Then an answer is lost if the connection is reset at the very moment of a
    write.

    The connection is not used again. A server that answers before it has read the body may close the connection without
    a word about it in the answer. The next request on it would be lost.
    """

    def __init__(self, content: bytes, receipt: Receipt | None = None) -> None:
        super().__init__(content, headers={"Connection": "close"})
        self._content = content
        self._receipt = receipt

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
        assert isinstance(writer, StreamWriter)
        assert isinstance(writer.protocol, ResponseHandler)
        # The header alone does not do: the server may ignore it.
        writer.protocol.force_close()
        transport = writer.transport
        if transport is None:
            raise ConnectionResetError("the connection was closed before the request")
        if self._receipt is not None:
            self._receipt.begin(transport)
        try:
            if transport.get_extra_info("sslcontext") is None:
                await _flush(writer, transport)
                await self._write_beside(transport)
            else:
                await self._write_through(writer, transport)
        except OSError:
            # The request ends when its answer, or the end of the connection, has been read. That cancels this.
            await asyncio.get_running_loop().create_future()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, whose length is the one in the header."""
        await self.write(writer)

    async def _write_beside(self, transport: asyncio.Transport) -> None:
        """Write to the socket of the transport by another descriptor, while the transport reads."""
        loop = asyncio.get_running_loop()
        content = memoryview(self._content)
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
            connection.setblocking(False)
            for start in range(0, len(content), _SLICE):
                await loop.sock_sendall(connection, content[start : start + _SLICE])
                await asyncio.sleep(0)

    async def _write_through(self, writer: StreamWriter, transport: asyncio.Transport) -> None:
        """Write by the transport, which encrypts. An answer that is there before a slice is read before it."""
        content = memoryview(self._content)
        answered = select.poll()
        answered.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        for start in range(0, len(content), _SLICE):
            await asyncio.sleep(0)
            if answered.poll(0):
                await asyncio.sleep(0)
            await writer.write(content[start : start + _SLICE])


async def _flush(writer: StreamWriter, transport: asyncio.Transport) -> None:
    """Send the headers, and wait until the transport has nothing left to write."""
    transport.set_write_buffer_limits(0)
    writer.send_headers()
    await writer.drain()
    transport.set_write_buffer_limits()
