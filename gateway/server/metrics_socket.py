"""How a process of a gateway asks another one for what it has counted: over a unix socket, in MessagePack.

A worker answers whoever connects, and closes the connection. Only this user reaches the directory of the socket.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.server_sockets import socket_path
from gateway.core.socket_directory import metrics_socket
from gateway.server.own_metrics import own_families
from gateway.telemetry.metrics import MetricFamily

ANSWER_SECONDS: Final = 2.0
"""How long a worker may take to answer. One that hangs delays a scrape by this; scrapers wait for some 10 seconds."""

_LONGEST_ANSWER: Final = 16 << 20
_PART: Final = 256 << 10

_decoder: Final = msgspec.msgpack.Decoder(list[MetricFamily])


@asynccontextmanager
async def told_metrics(upstream: str, process: str) -> AsyncIterator[None]:
    """Tell what this process has counted, while the block lasts, beside the socket of its runtime."""
    path = socket_path(upstream)
    if path is None:
        yield
        return
    tasks: set[asyncio.Task[None]] = set()

    def begin(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_tell(writer, process))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(begin, metrics_socket(str(Path(path).parent), os.getpid()))
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _tell(writer: asyncio.StreamWriter, process: str) -> None:
    with suppress(ConnectionError):
        try:
            families = await own_families(process)
            writer.write(await asyncio.to_thread(msgspec.msgpack.encode, families))
            async with asyncio.timeout(ANSWER_SECONDS):
                await writer.drain()
        except TimeoutError:
            writer.transport.abort()
        finally:
            writer.close()


async def ask_metrics(path: str) -> list[MetricFamily] | None:
    """What the process that listens at a path has counted; None if it does not say so in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await _read(path)
            return await asyncio.to_thread(_decoder.decode, answer)
    except (OSError, TimeoutError, msgspec.MsgspecError):
        return None


async def _read(path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        answer = bytearray()
        while part := await reader.read(_PART):
            answer += part
            if len(answer) > _LONGEST_ANSWER:
                raise OSError("the answer is too long")
        return bytes(answer)
    finally:
        writer.transport.abort()
