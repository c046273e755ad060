"""The connection to an engine, against a server that fails as told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import StatusCode

from gateway.core.errors import RemoteError, TooLarge, Unavailable
from gateway.runtimes.stepflow import engine as module
from gateway.runtimes.stepflow.engine import Answer, AnswerLost, EngineRequest, EngineRestClient
from gateway.telemetry import tracing
from tests.support.engine_proxy import CUT, HOLD, EngineProxy
from tests.support.traces import child_of, gateway_spans

OK = (200, b"{}")


@pytest.fixture
async def server() -> AsyncIterator[EngineProxy]:
    async with EngineProxy().running() as server:
        yield server


@pytest.fixture
async def engine(server: EngineProxy) -> AsyncIterator[EngineRestClient]:
    engine = EngineRestClient(server.url)
    yield engine
    await engine.close()


async def ask(engine: EngineRestClient, *, repeatable: bool = True, seconds: float = 30.0) -> Answer:
    return await engine.request(EngineRequest("POST", "/runs", seconds, repeatable=repeatable, body=b"{}"))


async def when_it_is_back(engine: EngineRestClient) -> Answer:
    while True:
        try:
            return await ask(engine, repeatable=False)
        except Unavailable as away:
            await asyncio.sleep(away.retry_after or 0.0)


async def test_any_status_is_an_answer(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies.append((404, b'{"message":"none"}'))
    answer = await ask(engine)
    assert (answer.status, answer.body) == (404, b'{"message":"none"}')
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_repeatable_request_is_sent_again_once(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies += [CUT, OK]
    assert (await ask(engine)).status == 200
    server.replies += [CUT, CUT]
    with pytest.raises(AnswerLost):
        await ask(engine)
    assert len(server.requests) == 4


async def test_another_request_is_not_sent_again(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies.append(CUT)
    with pytest.raises(AnswerLost) as error:
        await ask(engine, repeatable=False)
    assert error.value.retry_after is not None
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 200 OK\r\nContent-Le"]
)
async def test_half_an_answer_is_a_lost_one(server: EngineProxy, engine: EngineRestClient, reply: bytes) -> None:
    server.replies.append(reply)
    with pytest.raises(AnswerLost):
        await ask(engine, repeatable=False)


async def test_what_is_not_http_is_said_to_be_so(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies.append(b"hello, who is there?\r\n\r\n")
    with pytest.raises(RemoteError, match="not HTTP"):
        await ask(engine, repeatable=False)


async def test_time_runs_out(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies.append(HOLD)
    with pytest.raises(AnswerLost, match="in time"):
        await ask(engine, repeatable=False, seconds=0.05)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_without_an_engine(server: EngineProxy, engine: EngineRestClient, status: int) -> None:
    server.replies.append((status, b"<html>"))
    with pytest.raises(Unavailable, match="proxy") as error:
        await ask(engine)
    assert error.value.retry_after == 1.0


async def test_an_answer_that_is_too_long(
    server: EngineProxy, engine: EngineRestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 10)
    server.replies.append((200, b"x" * 11))
    with pytest.raises(TooLarge):
        await ask(engine)


async def test_an_engine_that_is_away_is_tried_again_when_it_is_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.01)
    server = EngineProxy()
    async with server.running():
        pass
    engine = EngineRestClient(server.url)
    try:
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot be reached") as error:
                await ask(engine, repeatable=False)
            assert not isinstance(error.value, AnswerLost)
            assert error.value.retry_after is not None
        async with server.running():
            server.replies += [OK] * 2
            assert (await when_it_is_back(engine)).status == 200
            assert (await ask(engine)).status == 200
        assert caplog.records == []
        with pytest.raises(Unavailable, match="cannot be reached"):
            await ask(engine, repeatable=True)
    finally:
        await engine.close()
    # What was never there is not missed.
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["reached"]


async def test_while_it_is_away_only_one_request_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 60.0)
    server = EngineProxy()
    async with server.running():
        pass
    engine = EngineRestClient(server.url)
    try:
        with pytest.raises(Unavailable):
            await ask(engine)
        async with server.running():
            with pytest.raises(Unavailable) as error:
                await ask(engine)
            assert server.requests == []
            assert error.value.retry_after is not None
            assert error.value.retry_after > 20
    finally:
        await engine.close()


async def test_waiting_requests_and_streams_keep_nobody_waiting(
    server: EngineProxy, engine: EngineRestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, one of so many connections at once may take long: then the engine would count as away.
    monkeypatch.setattr(module, "CONNECT_SECONDS", 100.0)
    count = module.MAX_REQUESTS + 1
    server.replies += [HOLD] * count
    waiting = [
        asyncio.create_task(engine.request(EngineRequest("GET", "/runs/x", 60.0, repeatable=True, waits=True)))
        for _ in range(count)
    ]
    await server.waiting(count)
    server.replies.append(OK)
    assert (await ask(engine)).status == 200
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_stream_comes_whatever_its_status(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies.append((500, b"no"))
    async with engine.events("/runs/x/events") as response:
        assert response.status == 500
        assert await response.read() == b"no"


async def test_a_stream_that_breaks(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies.append(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    with pytest.raises(AnswerLost):
        async with engine.events("/runs/x/events") as response:
            await response.read()


async def test_credentials_are_not_shown() -> None:
    engine = EngineRestClient("http://me:secret@127.0.0.1:7840/")
    assert engine.name == "http://127.0.0.1:7840/"
    await engine.close()


async def test_a_request_carries_its_span(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies += [OK, (404, b"{}"), OK]
    with gateway_spans() as spans:
        with tracing.span("served"):
            await ask(engine)
            await ask(engine)
        await ask(engine)
    made = spans.named("POST /api/v1/runs")
    assert [span.status.status_code for span in made] == [StatusCode.UNSET, StatusCode.ERROR]
    assert all(child_of(span, spans.one("served")) for span in made)
    assert ["traceparent" in headers for headers in server.headers] == [True, True, False]
    for span, headers in zip(made, server.headers, strict=False):
        assert span.context is not None
        assert f"-{span.context.span_id:016x}-" in headers["traceparent"]
