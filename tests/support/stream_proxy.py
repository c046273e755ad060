"""A TCP proxy before a gRPC server that counts the messages it brings to a client, and fails after so many of them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from tests.support.listening import listening

DATA = 0
HEADER = 9
PREFIX = 5


class StreamProxy:
    """Each connection in turn takes from `limits` how many messages it may bring; when there is none left, any number.

    Then it is cut, or, if the proxy is `silent`, brings nothing more until the client closes it. `cuts` counts these.
    """

    def __init__(self, target: str, limits: Iterable[int], *, silent: bool = False) -> None:
        self.address = ""
        self.messages = 0
        self.cuts = 0
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._limits = iter(limits)
        self._silent = silent
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds on the numbers of messages and cuts."""
        while not condition():
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["StreamProxy"]:
        """Listen on a free port."""
        async with listening(self._connected) as port:
            self.address = f"127.0.0.1:{port}"
            yield self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = next(self._limits, None)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:  # The server is away.
            writer.close()
            return
        requests = asyncio.create_task(_copy(reader, server_writer))
        try:
            await self._answers(server_reader, writer, limit)
            if limit is not None and self._silent:
                await requests  # until the client has closed its side
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            requests.cancel()
            server_writer.transport.abort()
            # Not aborted: what has been brought is to arrive.
            writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        """Bring frames of HTTP/2 to the client, until the limit is reached."""
        counters: dict[int, _Counter] = defaultdict(_Counter)
        brought = 0
        while limit is None or brought < limit:
            head = await reader.readexactly(HEADER)
            body = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == DATA:
                ended = counters[int.from_bytes(head[5:9])].feed(body)
                brought += ended
                self.messages += ended
                self._notify()
            writer.write(head + body)
            await writer.drain()
        self.cuts += 1
        self._notify()


class _Counter:
    """Counts the messages that end in the bytes of a stream."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> int:
        self._data += data
        ended = 0
        while len(self._data) >= PREFIX:
            end = PREFIX + int.from_bytes(self._data[1:PREFIX])
            if len(self._data) < end:
                break
            self._data = self._data[end:]
            ended += 1
        return ended


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()  # A server that stops waits for its connections.
