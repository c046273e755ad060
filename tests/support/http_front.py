"""An HTTP front over a runtime that a test controls, and connections to it that say exactly what is sent when."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self, cast

from gateway.access.access import Access
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.server_tls import ServerTls
from gateway.fronts.http.connection import HttpConnection
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.fronts.http.overview_stream import OverviewEvents
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.scripted_runtime import FLOW, ScriptedRuntime
from tests.support.tasks import LIMIT
from tests.support.tls_client import TlsStream


class Answer(NamedTuple):
    """A response; the names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """A connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> Self:
        self.writer.write(data)
        return self

    def half_close(self) -> Self:
        """Send nothing more."""
        self.writer.write_eof()
        return self

    def reset(self) -> None:
        """Leave, and let the server know."""
        self.writer.transport.abort()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The head of the next response, interim ones included."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split(" ")[1]), {
            name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)
        }

    async def answer(self) -> Answer:
        """The next response that is final."""
        status = 100
        while status == 100:
            status, headers = await self.head()
        return Answer(status, headers, await self.reader.readexactly(int(headers.get("content-length", 0))))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks of a response, whose head has been read; IncompleteReadError if it is cut."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class RunningFront:
    """A front that runs, and everything behind it."""

    def __init__(
        self, front: HttpFront, runtime: ScriptedRuntime, service: RunsService, account: MemoryAccount
    ) -> None:
        self.front = front
        self.runtime = runtime
        self.service = service
        self.account = account
        self.connections: list[RawConnection] = []
        self.client_context: ssl.SSLContext | None = None
        """The context of clients that connect over TLS."""

    async def connect(self, receive_buffer: int | None = None) -> RawConnection:
        """Connect. With a small `receive_buffer`, little of what the client does not read leaves the server."""
        host, _, port = self.front.address.rpartition(":")
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=client)
        if self.client_context is not None:
            stream = await TlsStream.open(reader, writer, self.client_context)
            reader, writer = stream.reader, cast(asyncio.StreamWriter, stream)
        self.connections.append(RawConnection(reader, writer))
        return self.connections[-1]

    @property
    def open_connections(self) -> list[HttpConnection]:
        """The connections on the side of the server."""
        return list(self.front._connections)

    async def ask(self, method: str, params: object) -> Any:
        """Call a method on a connection of its own."""
        connection = await self.connect()
        answer = await connection.send(call(method, params)).answer()
        await connection.close()
        return answer.json()["result"]

    async def submit(self) -> str:
        """Submit a run with two items, and return its id."""
        stored = await self.ask("blobs/put", {"data": json.loads(str(FLOW.content)), "blobType": "flow"})
        run_id: str = (await self.ask("runs/submit", {"flowId": stored["blobId"], "inputs": [1, 2]}))["runId"]
        return run_id

    async def holding(self, least: int, most: int | None = None) -> None:
        """Wait until the account counts so many bytes; TimeoutError if it never does."""
        async with asyncio.timeout(LIMIT):
            while not least <= self.account.held <= (least if most is None else most):  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def close(self) -> None:
        for connection in self.connections:
            await connection.close()
        await self.front.stop(0)
        await self.service.close()


@asynccontextmanager
async def running_front(
    limits: HttpLimits | None = None,
    account: MemoryAccount | None = None,
    runtime: ScriptedRuntime | None = None,
    access: Access | None = None,
    *,
    tls: ServerTls | None = None,
    client_context: ssl.SSLContext | None = None,
    ui: bool = False,
    overview: OverviewEvents | None = None,
) -> AsyncIterator[RunningFront]:
    """Serve until the block is left. With `tls`, clients connect with a context of their own."""
    runtime = runtime or ScriptedRuntime()
    account = account or MemoryAccount()
    service = RunsService(runtime, grace=0, account=account)
    methods = JsonRpcMethods(RunsServices(service), access=access)
    front = HttpFront(
        methods,
        "127.0.0.1:0",
        access=access,
        account=account,
        limits=limits,
        tls=tls,
        ui=ui,
        overview=overview,
    )
    await front.start()
    running = RunningFront(front, runtime, service, account)
    running.client_context = client_context
    try:
        yield running
    finally:
        await running.close()


def post(body: bytes = b"{}", path: str = "/", *headers: str, kind: str = "application/json") -> bytes:
    """A request with a body of a known length."""
    return head(path, f"Content-Length: {len(body)}", *headers, kind=kind) + body


def call(method: str, params: object, *headers: str) -> bytes:
    """A JSON-RPC call."""
    return post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode(), "/", *headers)


def head(path: str = "/", *headers: str, kind: str = "application/json", version: str = "1.1") -> bytes:
    """The head of a POST."""
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Type: {kind}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()
