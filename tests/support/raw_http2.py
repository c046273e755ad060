"""A gRPC client made of bare HTTP/2 frames, which breaks the rules that real clients keep, or never reads."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
CANCEL = 8

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME = 16_384
_POST_HTTP = bytes([0x80 | 3, 0x80 | 6])


class RawHttp2:
    """One connection. Streams get `window` bytes of an answer, and more by `give_window` only.

    Everything that comes is read: what has come of each stream is counted. Pings and settings are acknowledged.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.settings: dict[int, int] = {}
        self.received: Counter[int] = Counter()
        """The bytes of messages that have come, by stream."""
        self.reset: dict[int, int] = {}
        """The error codes of streams that the server has reset."""
        self.ended: set[int] = set()
        """The streams that the server has ended or reset."""
        self.closed = False
        self._reader = reader
        self._writer = writer
        self._next = 1
        self._changed = asyncio.Condition()

    def open(self, path: str, message: bytes | None = None, *, end: bool = True) -> int:
        """Begin a call, with a request if there is one, and return the number of its stream."""
        stream, self._next = self._next, self._next + 2
        self._frame(HEADERS, END_HEADERS, stream, _headers(path))
        if message is not None:
            self.send(stream, message, end=end)
        return stream

    def send(self, stream: int, message: bytes, *, end: bool = True) -> None:
        """Send a message of a request; windows of the server are not looked at."""
        data = b"\0" + struct.pack(">I", len(message)) + message
        for start in range(0, len(data), _FRAME):
            last = start + _FRAME >= len(data)
            self._frame(DATA, END_STREAM if end and last else 0, stream, data[start : start + _FRAME])

    def cancel(self, stream: int) -> None:
        """Reset a stream."""
        self._frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))

    def give_window(self, size: int, stream: int = 0) -> None:
        """Let the server send so many more bytes of a stream, or of the connection."""
        self._frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))

    def ping(self) -> None:
        """Ask for an answer."""
        self._frame(PING, 0, 0, bytes(8))

    async def flush(self) -> None:
        """Wait until most of what was sent is on its way."""
        await self._writer.drain()

    async def until(self, condition: object) -> None:
        """Wait until a function of no arguments is true, asked after each frame. The end of the connection ends it."""
        assert callable(condition)
        async with self._changed:
            await self._changed.wait_for(lambda: self.closed or condition())

    async def run(self) -> None:
        """Read until the connection ends."""
        try:
            while True:
                head = await self._reader.readexactly(9)
                size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
                payload = await self._reader.readexactly(size)
                self._take(kind, flags, int.from_bytes(head[5:]), payload)
                async with self._changed:
                    self._changed.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed = True
            async with self._changed:
                self._changed.notify_all()

    def begin(self, window: int) -> None:
        """Send what opens a connection."""
        self._writer.write(_PREFACE)
        self._frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window))
        self.give_window((1 << 31) - 1 - 65_535)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self.settings.update(struct.iter_unpack(">HI", payload))
            self._frame(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            self._frame(PING, ACK, 0, payload)
        elif kind == DATA:
            self.received[stream] += len(payload)
        elif kind == RST_STREAM:
            self.reset[stream] = int.from_bytes(payload)
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.ended.add(stream)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._writer.write(
            struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
        )


@asynccontextmanager
async def raw_http2(address: str, *, window: int = 0) -> AsyncIterator[RawHttp2]:
    """Connect to `HOST:PORT`, and wait for the settings of the server."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = RawHttp2(reader, writer)
    connection.begin(window)
    reading = asyncio.create_task(connection.run())
    try:
        await connection.until(lambda: connection.settings)
        yield connection
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        writer.transport.abort()


def _headers(path: str) -> bytes:
    fields = ((":path", path), (":authority", "localhost"), ("te", "trailers"), ("content-type", "application/grpc"))
    return _POST_HTTP + b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
