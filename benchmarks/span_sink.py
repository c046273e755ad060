"""A collector of spans that forgets them: it answers each request of OTLP over HTTP, and tells how many bytes came."""

import asyncio

from benchmarks.control import Pacer, obey, tell

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


class Sink:
    """Takes spans."""

    def __init__(self) -> None:
        self.received = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                self.received += length
                writer.write(_ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def serve() -> None:
    """Serve until standard input ends."""
    sink = Sink()
    server = await asyncio.start_server(sink.take, "127.0.0.1", 0, limit=1 << 20)
    host, port = server.sockets[0].getsockname()
    tell(grpc="", http=f"{host}:{port}")
    await obey(Pacer(lambda: None), lambda: {"received": sink.received})


if __name__ == "__main__":
    asyncio.run(serve())
