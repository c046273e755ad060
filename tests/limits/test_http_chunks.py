"""What the chunks of HTTP bodies may cost, and all else that comes in many small parts: what is parsed, and at once."""

import asyncio

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.http.connection import MAX_OVERHEAD, HttpConnection
from gateway.fronts.http.intake import PIECE, PiecewiseHandler
from gateway.fronts.http.limits import HttpLimits
from tests.support.followers import followed
from tests.support.http_front import call, head, post, running_front

CHUNKED = "Transfer-Encoding: chunked"
PATIENT = HttpLimits(body_seconds=1_000, linger_seconds=1_000)
"""Limits under which nothing ends because of time."""


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of everything that the parser is given, and 0 for each time that it goes on."""
    sizes: list[int] = []
    parse = PiecewiseHandler.parse

    def counted(self: PiecewiseHandler, data: bytes) -> None:
        sizes.append(len(data))
        parse(self, data)

    monkeypatch.setattr(PiecewiseHandler, "parse", counted)
    return sizes


def chunks(size: int, number: int, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (size, extension, b" " * size) * number


WASTEFUL = {
    "tiny chunks": chunks(1, 300_000),
    "long extensions": chunks(1, 600, b";" + b"a" * 1_000),
    "an extension without end": b"1;" + b"a" * 1_000_000,
    "a large body, then tiny chunks": chunks(100_000, 1) + chunks(1, 300_000),
    "tiny chunks after a pause": chunks(PIECE, 1) + chunks(1, 300_000),
}


@pytest.mark.parametrize("path", ["/", "/api/v1/blobs"])
@pytest.mark.parametrize("name", WASTEFUL)
async def test_chunks_with_too_much_around_them_are_refused(name: str, path: str, parsed: list[int]) -> None:
    async with running_front(PATIENT) as front:
        connection = (await front.connect()).send(head(path, CHUNKED) + WASTEFUL[name])
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert "chunks" in answer.json()["error"]["message"]
        assert sum(parsed) < 2 * MAX_OVERHEAD + 100_000 * 5 + 2 * PIECE
        assert await connection.half_close().rest() == b""
        await front.holding(0)


async def test_a_refused_body_is_not_read_for_ever() -> None:
    async with running_front(HttpLimits(linger_seconds=0.02)) as front:
        connection = (await front.connect()).send(head("/", CHUNKED) + chunks(1, 100_000))
        assert (await connection.answer()).status == 400
        assert await connection.rest() == b""


@pytest.mark.parametrize(("size", "number"), [(24, 5_000), (3, 20_000), (1, 10_000), (70_000, 3)])
async def test_other_chunks_are_taken(size: int, number: int) -> None:
    async with running_front(PATIENT) as front:
        connection = await front.connect()
        for _ in range(2):
            connection.send(head("/", CHUNKED) + chunks(size, number) + b"0\r\n\r\n")
            answer = await connection.answer()
            assert (answer.status, answer.json()["error"]["code"]) == (200, -32700)
        assert (await connection.send(post()).answer()).status == 200
        await connection.close()
        await front.holding(0)


MALFORMED = {
    "a size": b"zz\r\n",
    "an end": b"1\r\nxx\r\n",
    "too many trailers": b"0\r\n" + b"x:\r\n" * 200,
    "a trailer without end": b"0\r\nx: " + b"x" * 1_000_000,
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_body_that_becomes_malformed_is_refused_at_once(name: str) -> None:
    async with running_front(PATIENT) as front:
        connection = (await front.connect()).send(head("/", CHUNKED, "Expect: 100-continue"))
        assert (await connection.head())[0] == 100
        answer = await connection.send(chunks(1, 1) + MALFORMED[name]).answer()
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32700)
        assert await connection.half_close().rest() == b""
        await front.holding(0)


PARTS = {
    "chunks": head("/", CHUNKED) + chunks(1, 10_000) + b"0\r\n\r\n",
    "headers": head("/", "Content-Length: 2", *(f"x{number}: {'x' * 1_000}" for number in range(60))) + b"{}",
    "requests": post() * 300,
}


@pytest.mark.parametrize("name", PARTS)
async def test_small_parts_are_parsed_a_piece_at_a_time(name: str, parsed: list[int]) -> None:
    async with running_front() as front:
        connection = (await front.connect()).send(PARTS[name])
        for _ in range(300 if name == "requests" else 1):
            assert (await connection.answer()).status == 200
        assert max(parsed) <= PIECE
        await connection.close()
        await front.holding(0)


async def test_a_body_of_a_known_length_is_parsed_as_it_comes(parsed: list[int]) -> None:
    size = 4 << 20
    async with running_front() as front:
        connection = (await front.connect()).send(post(b" " * size))
        assert (await connection.answer()).status == 200
        assert max(parsed) > PIECE
        assert len(parsed) < 4 * size / (64 << 10)


async def test_a_connection_with_something_to_parse_receives_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    reading: list[bool] = []
    parse_piece = HttpConnection.parse_piece

    def watched(self: HttpConnection) -> None:
        held.append(self.unparsed)
        parse_piece(self)
        if self.unparsed and self.transport is not None:
            reading.append(self.transport.is_reading())

    monkeypatch.setattr(HttpConnection, "parse_piece", watched)
    async with running_front() as front:
        connection = (await front.connect()).send(post() * 5_000)
        for _ in range(5_000):
            assert (await connection.answer()).status == 200
    assert max(held) <= 256 << 10
    assert reading
    assert not any(reading)


async def test_requests_that_wait_to_be_parsed_draw_from_the_account() -> None:
    async with running_front(account=MemoryAccount(200_000)) as front:
        run_id = await front.submit()
        connection = (await front.connect()).send(call("runs/get", {"runId": run_id, "wait": True}))
        await followed(front.service, 1)
        connection.send(post() * 10_000)
        assert await connection.rest() == b""
        await followed(front.service, 0)
        await front.holding(0)


async def test_what_is_malformed_behind_a_request_waits_for_its_answer() -> None:
    async with running_front(PATIENT) as front:
        run_id = await front.submit()
        connection = (await front.connect()).send(call("runs/get", {"runId": run_id, "wait": True}))
        await followed(front.service, 1)
        connection.send(b"x" * 1_000_000)
        for _ in range(20):
            await asyncio.sleep(0)
        await front.runtime.succeed(0)
        await front.runtime.succeed(1)
        assert (await connection.answer()).json()["result"]["status"] == "success"
        assert (await connection.answer()).status == 400
