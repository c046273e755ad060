"""HTTP connections that have reached their age."""

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.http.limits import HttpLimits
from tests.support.http_front import running_front
from tests.support.tasks import LIMIT

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_an_old_connection_ends_with_its_next_answer() -> None:
    async with running_front(HttpLimits(connection_age=0.001), MemoryAccount()) as front:
        connection = await front.connect()
        headers: dict[str, str] = {}
        while headers.get("connection") != "close":
            headers = (await connection.send(HEAD).answer()).headers
        assert await connection.rest() == b""


async def test_requests_that_have_come_are_answered_before() -> None:
    async with running_front(HttpLimits(connection_age=1e-9), MemoryAccount()) as front:
        connection = await front.connect()
        connection.send(HEAD * 3)
        answers = [await connection.answer() for _ in range(3)]
        assert [answer.headers.get("connection") for answer in answers] == [None, None, "close"]


async def test_a_young_connection_stays() -> None:
    async with running_front(HttpLimits(connection_age=LIMIT), MemoryAccount()) as front:
        connection = await front.connect()
        for _ in range(3):
            assert "connection" not in (await connection.send(HEAD).answer()).headers


async def test_a_connection_is_cut_after_its_grace() -> None:
    async with running_front(HttpLimits(connection_age=0.001, age_grace=0.001), MemoryAccount()) as front:
        connection = await front.connect()
        assert await connection.rest() == b""
