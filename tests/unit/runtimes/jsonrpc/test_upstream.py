"""What becomes of an upstream's faults: a server on a raw socket misbehaves in every way; errors are clear, nothing is
submitted twice, and the runtime recovers by itself."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from gateway.core.errors import (
    BlobNotFound,
    GatewayError,
    Internal,
    Overloaded,
    RemoteError,
    RunNotFound,
    TooLarge,
    Unavailable,
)
from gateway.core.model import Blob, BlobType, RunState, SubmitParams, blob_id_of
from gateway.runtimes.jsonrpc import answers, upstream
from gateway.runtimes.jsonrpc import runtime as runtime_module
from gateway.runtimes.jsonrpc.dialect import Dialect
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.storage.idempotency import Keys
from tests.support.component_server import Call, ComponentServer

RUN = "11111111-2222-4333-8444-555555555555"
NOBODY = "00000000-0000-0000-0000-000000000000"
FLOW = blob_id_of("ab" * 32)
PARAMS = SubmitParams(flow_id=FLOW, inputs=["1"])
STATUS = {
    "runId": RUN,
    "flowId": FLOW,
    "status": "running",
    "items": {"total": 1, "pending": 0, "running": 1, "success": 0, "failed": 0, "cancelled": 0},
    "createdAt": "2025-01-15T10:30:00Z",
}
FINISHED = {
    **STATUS,
    "status": "success",
    "items": {"total": 1, "pending": 0, "running": 0, "success": 1, "failed": 0, "cancelled": 0},
    "completedAt": "2025-01-15T10:30:01Z",
}

Script = Callable[[Call], Awaitable[None]]


def method(call: Call) -> str:
    return str(call.message["method"])


def is_probe(call: Call) -> bool:
    return bool(call.message["params"].get("runId") == NOBODY)


async def refuse(call: Call, code: int = -32000, message: str = "Failed to get run") -> None:
    error = {"code": code, "message": message}
    await call.respond(json.dumps({"jsonrpc": "2.0", "id": call.message["id"], "error": error}).encode())


async def behave(call: Call) -> None:
    """As a server of the document."""
    if is_probe(call):
        await refuse(call)
    else:
        await call.result(STATUS)


class Faulty(ComponentServer):
    """Answers each call but probes by the next script in `faults`, and behaves when there is none."""

    def __init__(self) -> None:
        super().__init__(self._answer, handshake={})
        self.faults: list[Script] = []
        self.probe: Script = refuse

    def count(self, name: str) -> int:
        """How many calls of a method came in, without probes."""
        return sum(method(call) == name and not is_probe(call) for call in self.calls)

    async def _answer(self, call: Call) -> None:
        if is_probe(call):
            await self.probe(call)
        else:
            await (self.faults.pop(0) if self.faults else behave)(call)


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    server = Faulty()
    async with server.running():
        yield server


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    keys = await Keys.open(":memory:")
    yield keys
    await keys.close()


@pytest.fixture
async def runtime(server: Faulty, keys: Keys) -> AsyncIterator[JsonRpcRuntime]:
    runtime = JsonRpcRuntime(server.url, keys)
    assert await runtime.connect(10)
    yield runtime
    await runtime.close()


def status_code(status: str, body: bytes = b"<html>secret</html>", **headers: str) -> Script:
    async def answer(call: Call) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        await call.send(head.encode(), body)

    return answer


def text(body: bytes) -> Script:
    async def answer(call: Call) -> None:
        await call.respond(body)

    return answer


async def wrong_id(call: Call) -> None:
    await call.respond(json.dumps({"jsonrpc": "2.0", "id": "another", "result": STATUS}).encode())


async def another_run(call: Call) -> None:
    await call.result({**STATUS, "runId": RUN.replace("1", "2")})


async def no_uuid(call: Call) -> None:
    await call.result({**STATUS, "runId": "run-1"})


async def half_a_body(call: Call) -> None:
    await call.send(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"jsonrpc":"2.0","id":')
    call.abort()


async def half_a_chunk(call: Call) -> None:
    await call.stream(None)
    await call.send(b"1000\r\n{")
    call.abort()


async def no_answer(call: Call) -> None:
    call.abort()


async def no_http(call: Call) -> None:
    await call.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    call.abort()


async def silence(call: Call) -> None:
    await call.closed()


UNREADABLE = {
    "html": text(b"<html>"),
    "nothing": text(b""),
    "no-object": text(b"[]"),
    "no-response": text(b"{}"),
    "no-status": text(b'{"jsonrpc":"2.0","id":null,"error":{"code":"x"}}'),
    "surrogate": text(b'{"jsonrpc":"2.0","id":1,"result":"\\ud800"}'),
    "wrong-id": wrong_id,
    "another-run": another_run,
    "redirect": status_code("307 Temporary Redirect", Location="http://secret.example/"),
    "not-found": status_code("404 Not Found"),
    "encoded": status_code("200 OK", b"\x1f\x8b", Content_Encoding="gzip"),
    "no-http": no_http,
}

CUT_OFF = {
    "http-500": status_code("500 Internal Server Error"),
    "http-502": status_code("502 Bad Gateway"),
    "half-a-body": half_a_body,
    "half-a-chunk": half_a_chunk,
    "no-answer": no_answer,
}


@pytest.mark.parametrize("fault", UNREADABLE)
async def test_rubbish_is_an_error_of_its_own_and_passes(server: Faulty, runtime: JsonRpcRuntime, fault: str) -> None:
    server.faults = [UNREADABLE[fault]]
    with pytest.raises(RemoteError, match=r"upstream|answer") as raised:
        await runtime.get(RUN)
    assert "secret" not in str(raised.value)
    assert str(server.url) not in str(raised.value)
    assert (await runtime.get(RUN)).status.run_id == RUN


@pytest.mark.parametrize("fault", CUT_OFF)
async def test_reading_is_repeated_when_it_was_cut_off(server: Faulty, runtime: JsonRpcRuntime, fault: str) -> None:
    server.faults = [CUT_OFF[fault], CUT_OFF[fault]]
    assert (await runtime.get(RUN)).status.run_id == RUN
    assert server.count("runs/get") == 3


@pytest.mark.parametrize("fault", CUT_OFF)
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_submit_that_was_cut_off_is_not_repeated(
    server: Faulty, runtime: JsonRpcRuntime, fault: str, key: str | None
) -> None:
    server.faults = [CUT_OFF[fault]]
    params = replace(PARAMS, idempotency_key=key)
    with pytest.raises(Unavailable) as raised:
        await runtime.submit(params, "")
    assert raised.value.retry_after == 1.0
    assert server.count("runs/submit") == 1
    assert (await runtime.submit(params, "")).status.run_id == RUN


async def test_a_submit_with_a_key_is_repeated_where_keys_are_honoured(server: Faulty, keys: Keys) -> None:
    runtime = JsonRpcRuntime(server.url, keys, dialect=Dialect.SUPERSET)
    server.faults = [half_a_body]
    await runtime.submit(replace(PARAMS, idempotency_key="k"), "task")
    first, second = [call.message["params"] for call in server.calls if method(call) == "runs/submit"]
    assert first == second
    assert first["subflowKey"].startswith("sub:")
    await runtime.close()


async def test_what_was_never_sent_is_repeated_in_any_case(keys: Keys) -> None:
    server = Faulty()
    async with server.running() as url:
        port = int(url.rstrip("/").rpartition(":")[2])
    runtime = JsonRpcRuntime(url, keys)
    assert not await runtime.connect(0)
    submitting = asyncio.create_task(runtime.submit(PARAMS, ""))
    await asyncio.sleep(0)
    async with server.running(port):
        assert (await submitting).status.run_id == RUN
    assert server.count("runs/submit") == 1
    await runtime.close()


async def test_a_server_that_is_away_is_asked_by_one_task_only(keys: Keys) -> None:
    server = Faulty()
    async with server.running() as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        runtime = JsonRpcRuntime(url, keys, patience=0.0)
        assert await runtime.connect(10)
    for _ in range(20):
        with pytest.raises(Unavailable, match="the upstream") as raised:
            await runtime.get(RUN)
        assert raised.value.retry_after == 1.0
    async with server.running(port):
        assert await runtime.connect(10)
        assert (await runtime.get(RUN)).status.run_id == RUN
    assert server.count("runs/get") == 1
    await runtime.close()


async def test_a_server_that_breaks_every_call_is_given_up(server: Faulty, keys: Keys) -> None:
    runtime = JsonRpcRuntime(server.url, keys, patience=0.2)
    server.faults = [half_a_body] * 100
    with pytest.raises(Unavailable, match="lost"):
        await runtime.get(RUN)
    assert 1 < server.count("runs/get") < 20
    await runtime.close()


async def test_a_slow_server_is_not_asked_again(
    server: Faulty, runtime: JsonRpcRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults = [silence]
    monkeypatch.setattr(runtime_module, "WRITE_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="did not answer in time"):
        await runtime.submit(PARAMS, "")
    assert server.count("runs/submit") == 1
    assert (await runtime.get(RUN)).status.run_id == RUN


async def test_an_upstream_that_answers_rubbish_at_the_start_recovers(server: Faulty, keys: Keys) -> None:
    server.probe = status_code("404 Not Found")
    runtime = JsonRpcRuntime(server.url, keys)
    assert not await runtime.connect(10)
    with pytest.raises(RemoteError, match="404: the configured address may be wrong"):
        await runtime.submit(PARAMS, "")
    assert server.count("runs/submit") == 0
    server.probe = refuse
    while True:
        try:
            assert (await runtime.submit(PARAMS, "")).status.run_id == RUN
            break
        except RemoteError:
            await asyncio.sleep(0)
    await runtime.close()


@pytest.mark.parametrize(
    ("answer", "kind", "retry_after"),
    [
        (status_code("429 Too Many Requests", Retry_After="7"), Overloaded, 7.0),
        (status_code("503 Service Unavailable", Retry_After="3600"), Unavailable, 60.0),
        (status_code("413 Payload Too Large"), TooLarge, None),
        (
            status_code("400 Bad Request", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32013,"message":"m"}}'),
            TooLarge,
            None,
        ),
        (status_code("500 X", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"m"}}'), Internal, None),
    ],
)
async def test_http_statuses_tell_what_happened(
    server: Faulty, runtime: JsonRpcRuntime, answer: Script, kind: type[GatewayError], retry_after: float | None
) -> None:
    server.faults = [answer]
    with pytest.raises(kind) as raised:
        await runtime.submit(PARAMS, "")
    assert raised.value.retry_after == retry_after


async def test_errors_keep_code_message_and_data(server: Faulty, runtime: JsonRpcRuntime) -> None:
    async def fail(call: Call) -> None:
        error = {"code": 4711, "message": "strange", "data": {"a": 1}}
        await call.respond(json.dumps({"jsonrpc": "2.0", "id": call.message["id"], "error": error}).encode())

    async def storage(call: Call) -> None:
        await refuse(call, -32000, "the disk is on fire")

    server.faults = [fail, storage, refuse]
    with pytest.raises(RemoteError, match="strange") as raised:
        await runtime.get(RUN)
    assert (raised.value.jsonrpc_code, raised.value.data) == (4711, '{"a": 1}')
    with pytest.raises(RemoteError, match="on fire"):
        await runtime.get(RUN)
    with pytest.raises(RunNotFound, match="Failed to get run"):
        await runtime.get(RUN)


async def test_an_answer_is_bounded(server: Faulty, runtime: JsonRpcRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_JSON_BYTES", 1_000)
    server.faults = [text(b" " * 1_001)]
    with pytest.raises(TooLarge):
        await runtime.get(RUN)


async def test_a_run_id_that_is_no_uuid_is_told(server: Faulty, runtime: JsonRpcRuntime) -> None:
    server.faults = [no_uuid]
    with pytest.raises(RemoteError, match="not a UUID"):
        await runtime.submit(PARAMS, "")


async def test_credentials_are_sent_and_shown_nowhere(
    server: Faulty, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url.replace("http://", "http://user:hidden@")
    runtime = JsonRpcRuntime(f"jsonrpc+{url}", keys, patience=0.0)
    server.faults = [no_answer]
    with caplog.at_level(logging.DEBUG, "gateway"), pytest.raises(Unavailable) as raised:
        await runtime.get(RUN)
    assert server.calls[-1].headers["authorization"].startswith("basic ")
    assert "hidden" not in str(raised.value) + caplog.text
    await runtime.close()


async def test_a_watch_survives_what_comes_between(server: Faulty, runtime: JsonRpcRuntime) -> None:
    async with aclosing(runtime.watch(RUN)) as watch:
        assert (await anext(watch)).status.status is RunState.RUNNING

        async def finish(call: Call) -> None:
            await call.result(FINISHED)

        server.faults = [*CUT_OFF.values(), *[finish] * 10]
        assert (await anext(watch)).status.status is RunState.SUCCESS


async def test_a_server_that_does_not_wait_is_not_flooded(server: Faulty, runtime: JsonRpcRuntime) -> None:
    polled = asyncio.Event()

    async def last(call: Call) -> None:
        polled.set()
        await behave(call)

    server.faults = [*[behave] * 5, last]
    async with aclosing(runtime.watch(RUN)) as watch:
        await anext(watch)
        await polled.wait()
    waiting = [call for call in server.calls if call.message["params"].get("wait")]
    assert len(waiting) == 1


async def test_connections_are_used_again_and_bounded(
    server: Faulty, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CALLS", 2)
    runtime = JsonRpcRuntime(server.url, keys)
    await asyncio.gather(*(runtime.get(RUN) for _ in range(20)))
    assert len({id(call.writer) for call in server.calls}) <= 2
    await runtime.close()


async def test_a_gateway_whose_streams_a_proxy_swallows_is_polled(server: Faulty, keys: Keys) -> None:
    runtime = JsonRpcRuntime(server.url, keys, dialect=Dialect.SUPERSET)
    snapshot = await runtime.get(RUN)
    async with aclosing(runtime.watch(RUN)) as watch:
        assert await anext(watch) == snapshot

        async def finish(call: Call) -> None:
            await call.result(FINISHED)

        server.faults = [finish] * 10
        assert (await anext(watch)).status.status is RunState.SUCCESS
    streams = [call for call in server.calls if call.headers["accept"] == "text/event-stream"]
    assert len(streams) == 1
    await runtime.close()


async def test_a_stream_that_breaks_goes_on(server: Faulty, keys: Keys) -> None:
    def events(*statuses: Mapping[str, object], broken: bool = False) -> Script:
        async def stream(call: Call) -> None:
            await call.stream(None)
            for revision, status in enumerate(statuses, 1):
                params = {**status, "revision": revision, "finishedPrefix": 0, "resultCount": 0}
                await call.event({"jsonrpc": "2.0", "method": "runs/status", "params": params})
            if not broken:
                await call.event({"jsonrpc": "2.0", "id": call.message["id"], "result": statuses[-1]})
            call.abort()

        return stream

    runtime = JsonRpcRuntime(server.url, keys, dialect=Dialect.SUPERSET)
    server.faults = [
        events(STATUS, broken=True),
        status_code("503 Service Unavailable"),
        no_answer,
        events(STATUS),
        events(STATUS, FINISHED),
    ]
    async with aclosing(runtime.watch(RUN)) as watch:
        seen = [snapshot async for snapshot in watch]
    assert [snapshot.revision for snapshot in seen] == [1, 2]
    assert seen[-1].status.status is RunState.SUCCESS
    await runtime.close()


async def test_calls_that_wait_for_the_upstream_end_when_it_is_closed(keys: Keys) -> None:
    server = Faulty()
    async with server.running() as url:
        pass
    runtime = JsonRpcRuntime(url, keys)
    waiting = [asyncio.create_task(runtime.get(RUN)), asyncio.create_task(runtime.submit(PARAMS, ""))]
    await asyncio.sleep(0)
    await runtime.close()
    for task in waiting:
        with pytest.raises(Unavailable):
            await task


async def test_a_server_without_methods_for_blobs_is_asked_by_rest(keys: Keys) -> None:
    async def answer(call: Call) -> None:
        if "jsonrpc" in call.message:
            await refuse(call, -32601 if method(call).startswith("blobs/") else -32000)
        elif call.body:
            await call.respond(b'{"blobId":"%b"}' % (b"ab" * 32))
        else:
            await call.respond(b'{"error":{"code":404,"message":"gone"}}', status="404 Not Found")

    server = ComponentServer(answer, handshake={})
    async with server.running() as url:
        runtime = JsonRpcRuntime(f"{url}rpc", keys)
        for _ in range(2):
            assert await runtime.put_blob(Blob("1", BlobType.DATA)) == FLOW
        with pytest.raises(BlobNotFound, match="gone"):
            await runtime.get_blob(FLOW)
        assert [call.message.get("method") for call in server.calls] == ["runs/get", "blobs/put", None, None, None]
        await runtime.close()
