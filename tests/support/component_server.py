"""A component server on a raw socket, which answers the handshake and leaves everything else to a script."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.core.internal_errors import release_frames

HANDSHAKE = {
    "initialize": {"serverProtocolVersion": 1},
    "components/list": {"components": [{"component": "/double"}, {"component": "/echo"}]},
}


class Call:
    """One request that came in: its JSON-RPC message, and the means to answer it, properly or not."""

    def __init__(
        self, headers: dict[str, str], body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ):
        self.headers = headers
        self.body = body
        self.message: dict[str, Any] = json.loads(body) if body else {}
        self.reader = reader
        self.writer = writer

    async def send(self, *data: bytes) -> None:
        """Send bytes as they are."""
        for part in data:
            self.writer.write(part)
            await self.writer.drain()

    async def respond(self, body: bytes, *, status: str = "200 OK", content_type: str = "application/json") -> None:
        """Send an HTTP response."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)

    async def result(self, result: object) -> None:
        """Send a JSON-RPC result."""
        await self.respond(json.dumps({"jsonrpc": "2.0", "id": self.message["id"], "result": result}).encode())

    async def error(self, code: int, message: str) -> None:
        """Send a JSON-RPC error."""
        error = {"code": code, "message": message}
        await self.respond(json.dumps({"jsonrpc": "2.0", "id": self.message["id"], "error": error}).encode())

    async def accept(self) -> None:
        """Answer as SDKs do to notifications and to the answers to their own requests."""
        await self.respond(b'""', status="202 Accepted")

    async def stream(self, instance: str | None = "i-1") -> None:
        """Begin an event stream of chunks."""
        header = f"Stepflow-Instance-Id: {instance}\r\n" if instance else ""
        await self.send(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{header}"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )

    async def chunk(self, data: bytes) -> None:
        """Send a chunk of the event stream."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def event(self, message: object) -> None:
        """Send an event that holds a message."""
        await self.chunk(f"data: {json.dumps(message)}\n\n".encode())

    async def output(self, output: object) -> None:
        """Send the final event of an execution."""
        await self.event({"jsonrpc": "2.0", "id": self.message["id"], "result": {"output": output}})

    async def closed(self) -> None:
        """Wait until the other side closes the connection."""
        await self.reader.read()

    def abort(self) -> None:
        """Drop the connection."""
        self.writer.transport.abort()


Script = Callable[[Call], Awaitable[None]]


class ComponentServer:
    """`script` gets every call that is not part of the handshake. `calls` are all calls, in order."""

    def __init__(self, script: Script, handshake: dict[str, Any] | None = None) -> None:
        self.calls: list[Call] = []
        self._script = script
        self._handshake = HANDSHAKE if handshake is None else handshake
        self._connections: set[asyncio.Task[None]] = set()
        self.url = ""

    def methods(self) -> list[str | None]:
        """The methods of all calls; None for answers."""
        return [call.message.get("method") for call in self.calls]

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Listen; the URL."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=1000)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        try:
            yield self.url
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        try:
            while True:
                await self._serve(await _read(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError) as error:
            # The reader keeps what a lost connection raises.
            release_frames(error)
        finally:
            writer.transport.abort()

    async def _serve(self, call: Call) -> None:
        self.calls.append(call)
        method = str(call.message.get("method"))
        if method in self._handshake:
            await call.result(self._handshake[method])
        elif method == "initialized":
            await call.accept()
        else:
            await self._script(call)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    return Call(headers, await reader.readexactly(int(headers.get("content-length", "0"))), reader, writer)
