"""What a connection of the HTTP front may cost: time to send, bytes sent ahead, answers for clients that have left."""

import asyncio
import json
from contextlib import suppress

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.http.connection import HttpConnection
from gateway.fronts.http.limits import HttpLimits
from tests.support.followers import followed
from tests.support.http_front import call, head, post, running_front
from tests.support.tasks import all_ended

SOON = 0.02
"""Seconds, where nothing else has to happen in them."""

LATER = 0.4
"""Seconds, where something else has to happen before they have passed."""

EXPECT = "Expect: 100-continue"


# Expect: 100-continue


@pytest.mark.parametrize("expect", [EXPECT, "expect: 100-Continue"])
async def test_a_body_that_waits_to_be_asked_for_is_asked_for(expect: str) -> None:
    async with running_front() as front:
        connection = await front.connect()
        for _ in range(2):
            connection.send(head("/", "Content-Length: 2", expect))
            assert await connection.head() == (100, {})
            answer = await connection.send(b"{}").answer()
            assert (answer.status, answer.json()["error"]["code"]) == (200, -32600)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("/none", "Content-Length: 2", EXPECT), 404),
        (head("/api/v1/blobs/x", "Content-Length: 2", EXPECT), 405),
        (head("/", "Content-Length: 2", EXPECT, kind="text/plain"), 415),
        (head("/", "Content-Length: 2", EXPECT, "Content-Encoding: x"), 415),
        (head("/", "Content-Length: 2000", EXPECT), 413),
        (head("/", "Content-Length: 1000", EXPECT), 429),
        (head("/", "Content-Length: 2", "Expect: the-impossible"), 417),
        (head("/", "Content-Length: 2", EXPECT, "Expect: the-impossible"), 417),
    ],
)
async def test_a_body_that_will_not_be_read_is_refused_without_being_asked_for(
    request_head: bytes, status: int
) -> None:
    async with running_front(HttpLimits(body=1_500), MemoryAccount(900)) as front:
        connection = await front.connect()
        found, headers = await connection.send(request_head).head()
        assert (found, headers["connection"]) == (status, "close")
        assert json.loads(await connection.reader.readexactly(int(headers["content-length"])))["error"]["message"]
        connection.half_close()
        assert await connection.rest() == b""
        await front.holding(0)


async def test_nobody_is_asked_for_what_is_there_already() -> None:
    async with running_front() as front:
        connection = await front.connect()
        assert (await connection.send(post(b"{}", "/", EXPECT)).head())[0] == 200


async def test_clients_of_http_1_0_are_not_asked() -> None:
    async with running_front() as front:
        connection = await front.connect()
        connection.send(head("/", "Content-Length: 2", EXPECT, version="1.0"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert (await connection.send(b"{}").head())[0] == 200


# Slow clients


@pytest.mark.parametrize("began", [b"P", b"POST / HTTP/1.1\r\nHost: localhost\r\n", b"\r\n"])
async def test_a_head_that_takes_too_long_is_refused(began: bytes) -> None:
    async with running_front(HttpLimits(head_seconds=SOON)) as front:
        connection = await front.connect()
        answer = await connection.send(began).answer()
        assert (answer.status, answer.json()["error"]["data"]["reason"]) == (408, "REQUEST_TIMEOUT")
        assert await connection.rest() == b""


async def test_a_byte_now_and_then_makes_no_head() -> None:
    async with running_front(HttpLimits(head_seconds=SOON)) as front:
        connection = (await front.connect()).send(b"POST / HTTP/1.1\r\nHost: localhost\r\nX: ")

        async def trickle() -> None:
            with suppress(ConnectionError):
                while True:
                    connection.send(b"x")
                    await connection.writer.drain()
                    await asyncio.sleep(SOON / 10)

        trickling = asyncio.create_task(trickle())
        assert (await connection.answer()).status == 408
        trickling.cancel()


async def test_the_time_for_a_head_begins_with_each_request() -> None:
    async with running_front(HttpLimits(head_seconds=LATER)) as front:
        connection = await front.connect()
        for _ in range(2):
            assert (await connection.send(post()).answer()).status == 200
            await asyncio.sleep(LATER)
        connection.send(b"POST /")
        assert (await connection.answer()).status == 408


async def test_a_request_that_waits_is_not_late() -> None:
    async with running_front(HttpLimits(head_seconds=LATER)) as front:
        run_id = await front.submit()
        connection = await front.connect()
        connection.send(call("runs/get", {"runId": run_id, "wait": True}))
        await followed(front.service, 1)
        await asyncio.sleep(1.5 * LATER)
        await front.runtime.succeed(0)
        await front.runtime.succeed(1)
        assert (await connection.answer()).json()["result"]["status"] == "success"


async def test_connections_that_send_nothing_end() -> None:
    async with running_front(HttpLimits(idle_seconds=LATER)) as front:
        silent, used = await front.connect(), await front.connect()
        assert (await used.send(post()).answer()).status == 200
        assert await silent.rest() == await used.rest() == b""


@pytest.mark.parametrize("path", ["/", "/api/v1/blobs"])
@pytest.mark.parametrize("part", [b"", b"[1"])
async def test_a_body_that_comes_no_further_is_refused_in_the_form_of_its_path(path: str, part: bytes) -> None:
    async with running_front(HttpLimits(body_seconds=SOON)) as front:
        connection = await front.connect()
        answer = await connection.send(head(path, "Content-Length: 9") + part).answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert ("jsonrpc" in answer.json()) == (path == "/")
        assert await connection.rest() == b""
        await front.holding(0)


async def test_a_body_may_come_slowly_as_long_as_it_comes() -> None:
    # All of it takes longer than each part may; the rest of that time is for a machine that does other things.
    async with running_front(HttpLimits(body_seconds=8 * LATER)) as front:
        connection = (await front.connect()).send(head("/", "Content-Length: 4"))
        for _ in range(4):
            await connection.send(b" ").writer.drain()
            await asyncio.sleep(2.25 * LATER)
        assert (await connection.answer()).json()["error"]["code"] == -32700


# Clients that close their side


async def test_a_client_that_closes_its_side_after_requests_gets_the_answers() -> None:
    async with running_front() as front:
        for number in (1, 2, 40, 200, 500):
            connection = (await front.connect()).send(post() * number).half_close()
            for _ in range(number):
                assert (await connection.answer()).json()["error"]["code"] == -32600
            assert await connection.rest() == b""
        await front.holding(0)


async def test_a_side_may_be_closed_between_requests_that_were_sent_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    end = HttpConnection.end
    kept_open: list[bool] = []

    def closed_after_the_first(self: HttpConnection) -> None:
        end(self)
        if not kept_open:
            kept_open.append(self.eof_received())

    monkeypatch.setattr(HttpConnection, "end", closed_after_the_first)
    async with running_front() as front:
        connection = (await front.connect()).send(post() * 3)
        for _ in range(3):
            assert (await connection.answer()).status == 200
        assert kept_open == [True]
        assert await connection.rest() == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_client_that_waits_with_its_side_closed_gets_the_answer(version: str) -> None:
    async with running_front(HttpLimits(half_closed_seconds=SOON)) as front:
        run_id = await front.submit()
        request = call("runs/get", {"runId": run_id, "wait": True}).replace(b"HTTP/1.1", f"HTTP/{version}".encode())
        connection = (await front.connect()).send(request).half_close()
        await followed(front.service, 1)
        if version == "1.1":
            assert await connection.head() == await connection.head() == (100, {})
        await front.runtime.succeed(0)
        await front.runtime.succeed(1)
        assert (await connection.answer()).json()["result"]["status"] == "success"
        assert await connection.rest() == b""


@pytest.mark.parametrize("leave", ["close", "half-close, then reset", "reset"])
async def test_a_call_ends_when_its_client_has_left(leave: str) -> None:
    async with running_front(HttpLimits(half_closed_seconds=SOON)) as front:
        run_id = await front.submit()
        connection = (await front.connect()).send(call("runs/get", {"runId": run_id, "wait": True}))
        await followed(front.service, 1)
        if leave == "close":
            await connection.close()
        elif leave == "reset":
            connection.reset()
        else:
            connection.half_close()
            assert await connection.head() == (100, {})
            connection.reset()
        await followed(front.service, 0)
        await front.holding(0)


async def test_a_client_of_http_1_0_that_has_closed_its_side_is_waited_for_no_longer_than_an_idle_one() -> None:
    async with running_front(HttpLimits(half_closed_seconds=SOON, idle_seconds=LATER)) as front:
        run_id = await front.submit()
        request = call("runs/get", {"runId": run_id, "wait": True}).replace(b"HTTP/1.1", b"HTTP/1.0")
        connection = (await front.connect()).send(request)
        await followed(front.service, 1)
        assert await connection.half_close().rest() == b""
        await followed(front.service, 0)


async def test_an_event_stream_ends_when_its_client_closes_its_side() -> None:
    async with running_front() as front:
        run_id = await front.submit()
        connection = await front.connect()
        connection.send(call("runs/get", {"runId": run_id, "wait": True}, "Accept: text/event-stream"))
        assert (await connection.head())[0] == 200
        connection.half_close()
        await connection.rest()
        await followed(front.service, 0)


@pytest.mark.parametrize("length", ["Content-Length: 9", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("part", [b"", b"[1"])
async def test_a_body_that_ends_too_early_is_refused(
    length: str, part: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_front() as front:
        connection = await front.connect()
        chunk = b"%x\r\n%b\r\n" % (len(part), part) if part and "chunked" in length else part
        answer = await connection.send(head("/", length) + chunk).half_close().answer()
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32700)
        assert await connection.rest() == b""
        await front.holding(0)
    assert caplog.records == []


async def test_half_a_head_and_the_end_of_the_connection_are_forgotten() -> None:
    async with running_front(HttpLimits(half_closed_seconds=SOON)) as front:
        connection = await front.connect()
        assert await connection.send(b"POST / HT").half_close().rest() == b""


# Requests that are sent ahead of answers


async def test_requests_that_are_sent_ahead_draw_from_the_account() -> None:
    async with running_front() as front:
        run_id = await front.submit()
        connection = await front.connect()
        connection.send(call("runs/get", {"runId": run_id, "wait": True}))
        await followed(front.service, 1)
        await front.holding(0, 1_000)
        ahead = [post(b" " * 30_000) for _ in range(3)]
        connection.send(b"".join(ahead))
        await front.holding(sum(map(len, ahead)), sum(map(len, ahead)) + 1_000)
        await front.runtime.succeed(0)
        await front.runtime.succeed(1)
        answers = [await connection.answer() for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 4
        await connection.close()
        await front.holding(0)


async def test_a_client_that_sends_too_much_ahead_is_dropped() -> None:
    async with running_front(account=MemoryAccount(100_000)) as front:
        run_id = await front.submit()
        connection = await front.connect()
        connection.send(call("runs/get", {"runId": run_id, "wait": True}))
        await followed(front.service, 1)
        connection.send(post(b" " * 30_000) * 10)
        assert await connection.rest() == b""
        await followed(front.service, 0)
        await front.holding(0)


@pytest.mark.parametrize("complete", [False, True])
async def test_large_heads_draw_from_the_account(*, complete: bool) -> None:
    large = head("/", *(f"X-{number}: {'x' * 8_000}" for number in range(40)))
    async with running_front(account=MemoryAccount(100_000)) as front:
        connection = await front.connect()
        connection.send(large[:-2] + b"Content-Length: 2\r\n\r\n{}" if complete else large[:-2])
        assert (await connection.answer()).status == 429
        await connection.close()
        await front.holding(0)
    await all_ended()


# Other protocols


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_a_client_that_offers_another_protocol_is_answered_in_http_1_1(protocol: str) -> None:
    async with running_front() as front:
        connection = await front.connect()
        upgrade = post(b"{}", "/", "Connection: Upgrade", f"Upgrade: {protocol}")
        answer = await connection.send(upgrade).answer()
        assert (answer.status, answer.json()["error"]["code"]) == (200, -32600)
        ends = protocol == "websocket"  # The parser takes what follows for that protocol.
        assert answer.headers.get("connection") == ("close" if ends else None)
        if not ends:
            assert (await connection.send(post()).answer()).status == 200


async def test_no_tunnels_are_opened() -> None:
    async with running_front() as front:
        connection = (await front.connect()).send(b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\nxyz")
        assert (await connection.answer()).status == 405
        assert await connection.half_close().rest() == b""


# The number of connections


async def test_connections_are_bounded_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with running_front(HttpLimits(connections=2)) as front:
        first, _ = await front.connect(), await front.connect()
        assert (await first.send(post()).answer()).status == 200
        for _ in range(3):
            refused = await front.connect()
            assert (await refused.answer()).status == 429
            assert await refused.rest() == b""
        await first.close()
        status = 429
        while status == 429:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                status = (await (await front.connect()).send(post()).answer()).status
        assert status == 200
    assert [record.getMessage() for record in caplog.records] == [
        "2 HTTP connections are open: further ones are refused"
    ]
