"""Bodies of requests, in particular to servers that answer before they have read them."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest
import uvloop
from aiohttp import ClientSession, web

from gateway.peers.http.client import client_session, read_body, request
from gateway.peers.http.request_body import LARGE, LargeBody, request_body
from tests.support.early_server import EarlyServer, Farewell

REQUESTS = 200
AT_ONCE = 8
SIZES = (*[3_000_000] * 7, 20_000_000)

Work = Callable[[], Awaitable[None]]


def on_asyncio(work: Work) -> None:
    with asyncio.Runner() as runner:
        runner.run(_awaited(work))


def on_uvloop(work: Work) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_awaited(work))


async def _awaited(work: Work) -> None:
    await work()


async def post(session: ClientSession, url: str, size: int) -> tuple[int, bytes]:
    async with request(session, "POST", url, b"x" * size, headers={}) as response:
        return response.status, await read_body(response, 100)


async def refused(url: str, requests: int) -> set[tuple[int, bytes]]:
    """The answers to so many requests, some at once."""
    session = client_session(idle_seconds=1.0)
    bound = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> tuple[int, bytes]:
        async with bound:
            return await post(session, url, SIZES[index % len(SIZES)])

    try:
        return set(await asyncio.gather(*map(one, range(requests))))
    finally:
        await session.close()


@pytest.mark.parametrize("run", [on_asyncio, on_uvloop])
@pytest.mark.parametrize("farewell", [Farewell.RESET, Farewell.CLOSE])
def test_an_early_answer_is_never_lost(run: Callable[[Work], None], farewell: Farewell) -> None:
    async def work() -> None:
        with EarlyServer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, (farewell,)).running() as server:
            assert await refused(server.url, REQUESTS) == {(413, b"refused early")}

    run(work)


async def test_a_server_that_answers_and_reads_no_more_is_not_waited_for() -> None:
    with EarlyServer(HTTPStatus.UNAUTHORIZED, (Farewell.HOLD,)).running() as server:
        assert await refused(server.url, 2 * AT_ONCE) == {(401, b"refused early")}


async def echoed(url: str, session: ClientSession, content: bytes) -> bytes:
    async with request(session, "POST", url, content, headers={}) as response:
        return await read_body(response, len(content))


@pytest.mark.parametrize("run", [on_asyncio, on_uvloop])
def test_bodies_arrive_whole(run: Callable[[Work], None]) -> None:
    peers = set()

    async def handle(asked: web.Request) -> web.Response:
        assert asked.transport is not None
        peers.add(asked.transport.get_extra_info("peername"))
        return web.Response(body=await asked.read())

    async def work() -> None:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        session = client_session(idle_seconds=60.0)
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            for size in (0, 1, LARGE, LARGE + 1, 3 * LARGE, 10_000_001, 5):
                content = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
                assert await echoed(url, session, content) == content
        finally:
            await session.close()
            await runner.cleanup()

    run(work)
    assert len(peers) == 4, "small bodies share a connection, and none is used after a large body"


@pytest.mark.parametrize("farewell", Farewell)
async def test_a_connection_is_not_used_after_a_large_body(farewell: Farewell) -> None:
    session = client_session(idle_seconds=60.0)
    try:
        with EarlyServer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, (farewell,)).running() as server:
            for _ in range(10):
                assert await post(session, server.url, SIZES[0]) == (413, b"refused early")
                assert (await post(session, server.url, 1))[0] == 400
            assert all(b"\r\nconnection: close\r\n" in head.lower() for head in server.heads)
    finally:
        await session.close()


def test_small_bodies_stay_as_they_are() -> None:
    content = b"x" * LARGE
    assert request_body(content) is content
    assert isinstance(request_body(content + b"x"), LargeBody)
