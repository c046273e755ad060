"""Requests, and how they fail, against a server that sends the bytes that a test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, ClientTimeout

from gateway.peers.http.client import client_session, is_success, read_body, read_refusal, request
from gateway.peers.http.errors import (
    AnswerOverdue,
    AnswerTooLarge,
    ConnectionBroken,
    HttpFailure,
    NotConnected,
    NotHttp,
)


class ByteServer:
    """Answers each request with `answer`, and closes unless `stays`. `heads` are those of the requests."""

    def __init__(self, answer: bytes = b"", *, stays: bool = False) -> None:
        self.answer = answer
        self.stays = stays
        self.heads: list[str] = []
        self.url = ""
        self._stopped = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ByteServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server:
            yield self
            self._stopped.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self.answer)
        if self.stays:
            await self._stopped.wait()
        writer.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    session = client_session(idle_seconds=1.0)
    yield session
    await session.close()


async def get(session: ClientSession, url: str, limit: int = 100) -> tuple[int, bytes]:
    async with request(session, "GET", url, headers={}, times=ClientTimeout(total=30.0)) as response:
        return response.status, await read_body(response, limit)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_every_status_is_an_answer(session: ClientSession) -> None:
    async with ByteServer().running() as server:
        for status in (200, 204, 302, 404, 503):
            server.answer = answer(b"", "Location: /else", status=f"{status} Such")
            async with request(session, "GET", server.url, headers={}) as response:
                assert response.status == status
                assert is_success(response) is (status < 300)


async def test_no_compression_is_asked_for_and_none_accepted(session: ClientSession) -> None:
    async with ByteServer(answer(b"{}", "Content-Encoding: gzip")).running() as server:
        with pytest.raises(NotHttp, match="encoding"):
            await get(session, server.url)
    assert "accept-encoding: identity" in server.heads[0].lower()


@pytest.mark.parametrize(("headers", "sent"), [({}, "application/json"), ({"Content-Type": "text/x"}, "text/x")])
async def test_bodies_are_json_unless_the_caller_says_otherwise(
    session: ClientSession, headers: dict[str, str], sent: str
) -> None:
    async with (
        ByteServer(answer(b"")).running() as server,
        request(session, "POST", server.url, b"{}", headers=headers),
    ):
        pass
    assert f"content-type: {sent}\r\n" in server.heads[0].lower()


async def test_a_body_may_be_as_large_as_its_limit(session: ClientSession) -> None:
    async with ByteServer(answer(b"x" * 10)).running() as server:
        assert await get(session, server.url, 10) == (200, b"x" * 10)
        with pytest.raises(AnswerTooLarge):
            await get(session, server.url, 9)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (answer(b"whole", status="413 Such"), b"whole"),
        (answer(b"too long for it", status="413 Such"), b"too long"),
        (answer(b"cut", status="413 Such")[:-3], b""),
    ],
)
async def test_a_refusal_is_read_as_far_as_it_can_be(session: ClientSession, sent: bytes, read: bytes) -> None:
    async with (
        ByteServer(sent).running() as server,
        request(session, "GET", server.url, headers={}) as response,
    ):
        assert await read_refusal(response, len(b"too long")) == read
        assert response.status == 413


async def test_the_body_of_a_refusal_is_not_waited_for(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.peers.http.client.REFUSAL_SECONDS", 0.01)
    async with (
        ByteServer(answer(b"late", status="413 Such")[:-4], stays=True).running() as server,
        request(session, "GET", server.url, headers={}) as response,
    ):
        assert await read_refusal(response, 100) == b""


async def test_a_server_that_is_not_there(session: ClientSession) -> None:
    async with ByteServer().running() as server:
        pass
    with pytest.raises(NotConnected):
        await get(session, server.url)


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 200 OK\r\n", answer(b"x" * 10)[:-1]])
async def test_a_connection_that_ends_before_the_answer(session: ClientSession, cut: bytes) -> None:
    async with ByteServer(cut).running() as server:
        with pytest.raises(ConnectionBroken):
            await get(session, server.url)


async def test_an_answer_that_is_not_there_in_time(session: ClientSession) -> None:
    async with ByteServer(stays=True).running() as server:
        with pytest.raises(AnswerOverdue):
            async with request(session, "GET", server.url, headers={}, times=ClientTimeout(total=0.01)):
                pass


async def test_an_answer_that_is_not_http(session: ClientSession) -> None:
    async with ByteServer(b"220 mail.example ESMTP\r\n\r\n").running() as server:
        with pytest.raises(NotHttp):
            await get(session, server.url)


async def test_errors_of_the_caller_stay_as_they_are(session: ClientSession) -> None:
    async with ByteServer(answer(b"")).running() as server:
        with pytest.raises(LookupError):
            async with request(session, "GET", server.url, headers={}):
                raise LookupError


def test_all_failures_are_one_kind() -> None:
    kinds = (NotConnected, AnswerOverdue, ConnectionBroken, NotHttp, AnswerTooLarge)
    assert all(issubclass(kind, HttpFailure) for kind in kinds)
