"""Responses that are written in parts, as the client reads them."""

import socket
import struct
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from aiohttp import HttpVersion11

from gateway.concurrency.fair_queue import FairQueue
from gateway.core.internal_errors import error_to_tell, release_frames
from gateway.fronts.http.connection import HttpConnection
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, header_lines
from gateway.fronts.http.writing import BodyWriter

_RESET = struct.pack("ii", 1, 0)
"""Linger, for no time: closing a connection resets it."""

_TURN_BYTES = 256 << 10
"""About how much is written before others have their turn."""


class Broken(Exception):
    """The response cannot be completed: it must be cut, as it cannot tell of the error any more."""


async def send_parts(
    request: HttpRequest,
    headers: Mapping[str, str],
    parts: AsyncGenerator[bytes, None],
    *,
    first: bytes = b"",
    length: int | None = None,
) -> None:
    """Send a response whose body is made while it is sent; `length` is the body's, in bytes, if it is known.

    `parts` follow `first`, and are closed at the end. They are written as soon as they come: `in_step` waits for the
    client. An error cuts the response: the client sees that the end is missing.
    """
    writer = BodyWriter(request, header_lines({**headers, "Server": SERVER}), length)
    async with aclosing(parts):
        try:
            writer.write(first)
            del first  # It may be large, and the next part hours away.
            async for part in parts:
                writer.write(part)
                del part
            writer.end()
        except ConnectionError:
            pass  # The client has left.
        except Exception as error:
            if isinstance(error, Broken):
                release_frames(error)
            else:
                error_to_tell(error)
            cut(request)


async def in_step(
    parts: AsyncGenerator[bytes, None], connection: HttpConnection, fair_queue: FairQueue
) -> AsyncGenerator[bytes, None]:
    """Yield parts, each when the one before has left this process. `parts` is closed."""
    written = 0
    async with aclosing(parts):
        async for part in parts:
            written += len(part)
            yield part
            del part
            if connection.writing_paused:
                written = 0
                await connection.drained()
            elif written >= _TURN_BYTES:
                written = 0
                await fair_queue.yield_turn()


def cut(request: HttpRequest) -> None:
    """End a response that has begun, so that the client sees that its end is missing."""
    request.closes = True
    transport = request.connection.transport
    if transport is None:
        return
    if request.version < HttpVersion11:
        # An orderly end would look like the end of the body.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    else:
        transport.close()
