"""Requests on connections that were used before and end without an answer: what is known of their receipt."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiohttp import ClientSession

from gateway.peers.http.client import client_session, read_body, request
from gateway.peers.http.errors import ConnectionBroken, NotReceived
from gateway.peers.http.receipt import Receipt
from gateway.peers.http.request_body import LARGE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was acknowledged")

SMALL = b"{}"
LONG = b"x" * (LARGE + 1)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class BlockingServer:
    """A server on a socket that no event loop reads: what it does with a connection, it does at once."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.connection: socket.socket | None = None

    def serve_one(self) -> None:
        """Answer one request, and keep the connection."""
        if self.connection is None:
            self.connection, _ = self._listener.accept()
        self.receive()
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def receive(self) -> None:
        """Read a request."""
        assert self.connection is not None
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith((SMALL, LONG[-2:])):
            data += self.connection.recv(1 << 20)

    def close(self) -> None:
        """Close the connection."""
        assert self.connection is not None
        self.connection.close()
        self.connection = None


@asynccontextmanager
async def used_connection() -> AsyncIterator[tuple[BlockingServer, ClientSession, str]]:
    """A connection on which one request was answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = BlockingServer(listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        session = client_session(idle_seconds=60)
        try:
            answering = asyncio.to_thread(server.serve_one)
            await asyncio.gather(post(session, url, SMALL), answering)
            yield server, session, url
        finally:
            await session.close()


async def post(session: ClientSession, url: str, body: bytes) -> bytes:
    async with request(session, "POST", url, body, headers={}, receipt=Receipt()) as response:
        return await read_body(response, 100)


async def failure(call: Awaitable[bytes]) -> ConnectionBroken:
    with pytest.raises(ConnectionBroken) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("body", [SMALL, LONG], ids=["small", "long"])
async def test_a_request_on_a_connection_that_was_closed_while_idle_was_not_received(body: bytes) -> None:
    async with used_connection() as (server, session, url):
        server.close()  # The event loop does not know yet: it is this task that runs.
        assert type(await failure(post(session, url, body))) is NotReceived


async def test_a_request_that_was_read_may_have_been_executed() -> None:
    async with used_connection() as (server, session, url):

        def read_and_die() -> None:
            server.receive()
            server.close()

        dying = asyncio.to_thread(read_and_die)
        error, _ = await asyncio.gather(failure(post(session, url, SMALL)), dying)
        assert type(error) is ConnectionBroken


async def test_a_request_that_nobody_has_read_may_have_been_received() -> None:
    async with used_connection() as (server, session, url):

        def die() -> None:
            assert server.connection is not None
            server.connection.recv(1, socket.MSG_PEEK)
            server.close()

        error, _ = await asyncio.gather(failure(post(session, url, SMALL)), asyncio.to_thread(die))
        assert type(error) is ConnectionBroken


async def test_the_first_request_on_a_connection_may_have_been_received() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            connection.recv(1 << 16)
            connection.close()

        session = client_session(idle_seconds=60)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        error, _ = await asyncio.gather(failure(post(session, url, SMALL)), asyncio.to_thread(refuse))
        assert type(error) is ConnectionBroken
        await session.close()
