"""The port of metrics, as scrapers and others find it."""

import asyncio
import gzip
import os
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from gateway.access.access import Access
from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.tokens_file import MAX_TOKENS_FILE, read_tokens
from gateway.access.watched_file import WatchedFile
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.metrics_front import SCRAPERS, MetricsFront
from gateway.fronts.http.metrics_page import METRICS_PATH, MetricsPage
from gateway.telemetry.metrics import LabelValues, MetricFamily
from tests.support.http_front import RawConnection
from tests.support.identities import bearer, token_entry, token_of, write_tokens

OPENMETRICS = "Accept: application/openmetrics-text; version=1.0.0"


class Scraped:
    """A front whose page tells how often it was made, and connections to it."""

    def __init__(self, front: MetricsFront, lines: int) -> None:
        self.front = front
        self.collections = 0
        self.may_collect = asyncio.Event()
        self.may_collect.set()
        self._lines = lines

    async def collect(self) -> Iterable[Iterable[MetricFamily]]:
        self.collections += 1
        await self.may_collect.wait()
        samples: list[tuple[LabelValues, list[float]]] = [((str(number),), [1.0]) for number in range(self._lines)]
        return [[MetricFamily("calls_total", "counter", "Calls.", ("method",), samples)]] * 2

    async def connect(self, receive_buffer: int | None = None) -> RawConnection:
        if self.front.address.startswith("unix:"):
            return RawConnection(*await asyncio.open_unix_connection(self.front.address.removeprefix("unix:")))
        host, _, port = self.front.address.rpartition(":")
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
        return RawConnection(*await asyncio.open_connection(sock=client))

    async def ask(self, *headers: str, method: str = "GET", path: str = METRICS_PATH) -> tuple[int, Any, bytes]:
        connection = await self.connect()
        connection.send(request(*headers, method=method, path=path))
        if method == "HEAD":
            status, found = await connection.head()
            await connection.close()
            return status, found, b""
        answer = await connection.answer()
        await connection.close()
        return answer


def request(*headers: str, method: str = "GET", path: str = METRICS_PATH) -> bytes:
    hosts = () if any(header.startswith("Host:") for header in headers) else ("Host: localhost",)
    return "\r\n".join([f"{method} {path} HTTP/1.1", *hosts, *headers, "", ""]).encode()


@asynccontextmanager
async def scraped(
    address: str = "127.0.0.1:0", *, lines: int = 3, limits: HttpLimits = SCRAPERS, access: Access | None = None
) -> AsyncIterator[Scraped]:
    pages: dict[str, Any] = {}
    front = MetricsFront(pages, address, limits=limits, access=access)
    running = Scraped(front, lines)
    page = MetricsPage(running.collect)
    pages[METRICS_PATH] = page.answer
    await front.start()
    try:
        yield running
    finally:
        await front.stop()
        await page.close()


async def test_a_scrape_has_the_sum_over_processes_in_the_format_that_was_asked_for() -> None:
    async with scraped() as front:
        status, headers, body = await front.ask(OPENMETRICS)
        assert status == 200
        assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert headers["vary"] == "Accept, Accept-Encoding"
        [family] = parse_openmetrics(body.decode())
        assert {sample.value for sample in family.samples} == {2}
        status, headers, body = await front.ask()
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b'\ncalls_total{method="0"} 2.0\n' in body


async def test_it_is_encoded_for_those_who_accept_it() -> None:
    async with scraped(lines=1_000) as front:
        plain = (await front.ask())[2]
        _, headers, body = await front.ask("Accept-Encoding: gzip")
        assert (headers["content-encoding"], gzip.decompress(body)) == ("gzip", plain)
        assert len(body) < len(plain) // 4
        assert "content-encoding" not in (await front.ask("Accept-Encoding: br, identity"))[1]


async def test_head_has_the_headers_alone() -> None:
    async with scraped() as front:
        expected = (await front.ask())[1]
        status, headers, _ = await front.ask(method="HEAD")
        assert (status, {**headers, "date": ""}) == (200, {**expected, "date": ""})


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ({"method": "POST"}, 405),
        ({"method": "DELETE"}, 405),
        ({"path": "/"}, 404),
        ({"path": "/metrics/"}, 404),
        ({"path": "/health"}, 404),
        ({"path": "/%6detrics?name=x"}, 200),
    ],
)
async def test_nothing_else_is_served(line: dict[str, str], status: int) -> None:
    async with scraped() as front:
        found, headers, _ = await front.ask(**line)
        assert (found, headers.get("allow")) == (status, "GET, HEAD" if status == 405 else None)
        assert front.collections == (status == 200)


async def test_a_body_is_dropped_and_ends_the_connection() -> None:
    async with scraped() as front:
        connection = await front.connect()
        connection.send(request("Content-Length: 5"))
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        connection.send(b"12345")
        assert await connection.rest() == b""
        await connection.close()


async def test_a_connection_takes_scrape_after_scrape() -> None:
    async with scraped() as front:
        connection = await front.connect()
        for _ in range(3):
            assert (await connection.send(request()).answer()).status == 200
        await connection.close()


@pytest.mark.parametrize(
    ("header", "status"),
    [("Host: evil.example", 421), ("Origin: https://evil.example", 403), ("Host: 127.0.0.1:9464", 200)],
)
async def test_no_page_of_another_site_reads_it(header: str, status: int) -> None:
    async with scraped() as front:
        assert (await front.ask(header))[0] == status


async def test_a_unix_socket_serves_any_host_and_is_removed_at_the_end(home: Path) -> None:
    async with scraped(f"unix:{home}/metrics") as front:
        assert (await front.ask("Host: whatever"))[0] == 200
    assert os.listdir(home) == []


async def test_a_hundred_scrapers_at_once_cost_one_page() -> None:
    async with scraped(lines=2_000) as front:
        front.may_collect.clear()
        scrapes = [asyncio.create_task(front.ask()) for _ in range(100)]
        other = asyncio.create_task(front.ask(OPENMETRICS))
        while len(front.front._connections) < 101 or front.collections < 2:  # noqa: ASYNC110 - it needs turns
            await asyncio.sleep(0)
        front.may_collect.set()
        answers = await asyncio.gather(*scrapes)
        assert {answer[0] for answer in answers} == {200}
        assert len({answer[2] for answer in answers}) == 1
        assert (await other)[0] == 200
        assert front.collections == 2


async def test_more_connections_than_the_limit_are_refused() -> None:
    async with scraped(limits=SCRAPERS._replace(connections=2)) as front:
        kept = [await front.connect() for _ in range(2)]
        for connection in kept:
            assert (await connection.send(request()).answer()).status == 200
        refused = await front.connect()
        assert (await refused.answer()).status == 429
        for connection in [*kept, refused]:
            await connection.close()


async def test_a_slow_scraper_holds_up_nobody_and_is_dropped() -> None:
    async with scraped(lines=100_000, limits=SCRAPERS._replace(unread_seconds=0.2)) as front:
        slow = await front.connect(receive_buffer=4_096)
        slow.send(request())
        assert (await slow.head())[0] == 200
        assert len((await front.ask("Accept-Encoding: gzip"))[2]) > 1_000
        while front.front._connections:  # noqa: ASYNC110 - it needs turns
            await asyncio.sleep(0.01)
        assert front.front._account.held == 0
        await slow.close()


async def test_what_scrapers_do_not_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.fronts.http.metrics_front._UNSENT_BYTES", 1 << 16)
    async with scraped(lines=5_000) as front:
        status, headers, _ = await front.ask()
        assert (status, headers["content-type"]) == (429, "application/json")


async def test_a_client_that_leaves_stops_nothing() -> None:
    async with scraped() as front:
        front.may_collect.clear()
        connection = (await front.connect()).send(request())
        while not front.collections:  # noqa: ASYNC110 - it needs turns
            await asyncio.sleep(0)
        connection.reset()
        waiting = asyncio.create_task(front.ask())
        front.may_collect.set()
        assert (await waiting)[0] == 200


@pytest.mark.parametrize(
    ("name", "status"), [(None, 401), ("nobody", 401), ("reader", 403), ("scraper", 200), ("root", 200)]
)
async def test_where_there_are_identities_it_is_for_those_who_may_read_metrics(
    tmp_path: Path, name: str | None, status: int
) -> None:
    file = write_tokens(
        tmp_path / "tokens.toml",
        token_entry("reader"),
        token_entry("scraper", ["metrics:read"]),
        token_entry("root", ["admin"]),
    )
    tokens = WatchedFile(str(file), lambda text: read_tokens(text, roles=Roles({})), MAX_TOKENS_FILE)
    async with scraped(access=ConfiguredAccess(tokens=tokens)) as front:
        headers = () if name is None else (f"Authorization: {bearer(token_of(name))}",)
        found, answered, _ = await front.ask(*headers)
        assert (found, answered.get("www-authenticate")) == (status, "Bearer" if status == 401 else None)


async def test_a_page_that_cannot_be_made_is_an_error_and_the_next_one_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_: Any) -> Any:
        raise ValueError("a defect")

    front = MetricsFront({"/metrics": fail}, "127.0.0.1:0")
    await front.start()
    running = Scraped(front, 0)
    assert (await running.ask())[0] == 500
    assert (await running.ask(path="/"))[0] == 404
    assert "a defect" in caplog.text
    await front.stop()


@pytest.mark.parametrize("request_text", [b"GET /metrics HTTP/2.0\r\n\r\n", b"\x16\x03\x01", b"GET\r\n\r\n"])
async def test_what_is_no_request_is_refused(request_text: bytes) -> None:
    async with scraped() as front:
        connection = (await front.connect()).send(request_text + b"\r\n\r\n")
        assert (await connection.answer()).status >= 400
        await connection.close()
