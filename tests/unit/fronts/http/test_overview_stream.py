"""The overview on a front, over real connections. What makes its events is the test."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.access.access import Access, OpenAccess
from gateway.access.presented import Presented
from gateway.core.caller import Caller
from gateway.core.errors import Unavailable
from gateway.core.owner import Permission
from gateway.fronts.http.overview_stream import MOST_VIEWERS
from tests.support.http_front import RawConnection, RunningFront, running_front
from tests.support.tasks import LIMIT

REQUEST = b"GET /ui/overview HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


class Source:
    """Makes events, each when the test says so; it knows how often it was begun, and whether it is open."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = 0
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    def tell(self, event: object) -> None:
        self._queue.put_nowait(json.dumps(event).encode())

    def fail(self, error: Exception | None) -> None:
        self._queue.put_nowait(error)

    async def events(self) -> AsyncGenerator[bytes, None]:
        self.begun += 1
        self.open += 1
        self.closed.clear()
        try:
            while (event := await self._queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.open -= 1
            self.closed.set()


@pytest.fixture
def source() -> Source:
    return Source()


@asynccontextmanager
async def front(source: Source, access: Access | None = None) -> AsyncIterator[RunningFront]:
    async with asyncio.timeout(LIMIT), running_front(access=access, overview=source.events) as running:
        yield running


async def looking(running: RunningFront, request: bytes = REQUEST) -> RawConnection:
    """A connection that has been told that the stream begins."""
    connection = await running.connect()
    status, headers = await connection.send(request).head()
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    await connection.reader.readuntil(b"retry: 1000\n\n")
    return connection


async def next_event(connection: RawConnection) -> Any:
    await connection.reader.readuntil(b"data: ")
    return json.loads(await connection.reader.readuntil(b"\n\n"))


async def test_all_who_look_are_told_what_is_made_once(source: Source) -> None:
    async with front(source) as running:
        viewers = [await looking(running) for _ in range(3)]
        for number in (1, 2):
            source.tell(number)
            assert [await next_event(viewer) for viewer in viewers] == [number] * 3
        assert (source.begun, source.open) == (1, 1)
        late = await looking(running)
        assert await next_event(late) == 2


async def test_nothing_is_made_while_nobody_looks(source: Source) -> None:
    async with front(source) as running:
        for round_ in (1, 2):
            viewers = [await looking(running) for _ in range(2)]
            source.tell(round_)
            assert [await next_event(viewer) for viewer in viewers] == [round_] * 2
            viewers[0].reset()
            source.tell("more")
            assert await next_event(viewers[1]) == "more"
            assert source.open == 1
            viewers[1].reset()
            await source.closed.wait()
            assert (source.begun, source.open) == (round_, 0)


async def test_the_number_of_those_who_look_is_bounded(source: Source) -> None:
    async with front(source) as running:
        viewers = [await looking(running) for _ in range(MOST_VIEWERS)]
        refused = await (await running.connect()).send(REQUEST).answer()
        assert refused.status == 429
        assert refused.headers["retry-after"] == "5"
        source.tell(1)
        assert [await next_event(viewer) for viewer in viewers] == [1] * MOST_VIEWERS


async def test_who_is_slow_misses_events_and_holds_little(source: Source) -> None:
    async with front(source) as running:
        quick, slow = await looking(running), await running.connect(receive_buffer=4_096)
        slow.send(REQUEST)
        text = "x" * (1 << 20)
        for number in range(40):
            source.tell([number, text])
            assert (await next_event_of_any_size(quick))[0] == number
        assert running.account.held < 8 << 20
        await slow.head()
        seen = [(await next_event_of_any_size(slow))[0]]
        while seen[-1] != 39:
            seen.append((await next_event_of_any_size(slow))[0])
        assert len(seen) < 39
        assert seen == sorted(set(seen))


async def next_event_of_any_size(connection: RawConnection) -> Any:
    """An event of a chunked body, whose chunks are looked through."""
    found = b""
    while not found.endswith(b"\n\n\r\n") or b"data: " not in found:
        size = int((await connection.reader.readline()).strip() or b"0", 16)
        found += await connection.reader.readexactly(size + 2) if size else b""
    return json.loads(found.partition(b"data: ")[2].rstrip())


async def test_a_front_that_stops_ends_the_streams_at_once(source: Source) -> None:
    async with front(source) as running:
        viewer = await looking(running)
        stopping = asyncio.create_task(running.front.stop(grace=LIMIT * 2))
        assert b"the stream goes on over a new connection" in await viewer.rest()
        await stopping
        assert source.open == 0


@pytest.mark.parametrize("error", [None, Unavailable("away"), ValueError("the secret")])
async def test_the_end_of_the_source_ends_the_streams_and_who_comes_back_begins_anew(
    source: Source, error: Exception | None
) -> None:
    async with front(source) as running:
        viewer = await looking(running)
        source.fail(error)
        told = await next_event(viewer)
        assert told["id"] is None
        assert "secret" not in told["error"]["message"]
        assert (await viewer.rest()).endswith(b"0\r\n\r\n")
        again = await looking(running)
        source.tell(1)
        assert await next_event(again) == 1
        assert source.begun == 2


async def test_only_get_is_served(source: Source) -> None:
    async with front(source) as running:
        answer = await (await running.connect()).send(REQUEST.replace(b"GET", b"DELETE")).answer()
        assert (answer.status, answer.headers["allow"]) == (405, "GET")


async def test_a_front_without_an_overview_has_no_such_path() -> None:
    async with running_front() as running:
        assert (await (await running.connect()).send(REQUEST).answer()).status == 404


async def test_a_stream_ends_with_the_credentials(source: Source) -> None:
    class Expiring(OpenAccess):
        def known(self, presented: Presented) -> Caller:
            return Caller("boss", permissions=frozenset({Permission.ADMIN}), expires=time.time() + 0.2)

    async with front(source, Expiring()) as running:
        viewer = await looking(running)
        told = await next_event(viewer)
        assert told["error"]["data"]["reason"] == "UNAUTHENTICATED"
        await viewer.rest()
