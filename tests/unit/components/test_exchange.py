"""Executions against servers on raw sockets, well-behaved and not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.components import Callback, ComponentError, Components, Limits
from gateway.components.error import Code
from gateway.core.model import JsonText, ObservabilityContext
from tests.support.component_server import Call, ComponentServer, Script

CONTEXT = ObservabilityContext(run_id="r", step_id="s")
SMALL = Limits(message_size=20_000, pending_size=40_000)


async def refuse(request: bytes, scope: str) -> bytes | None:
    raise AssertionError("the component was not to ask for anything")


@asynccontextmanager
async def serving(
    script: Script, *, callback: Callback = refuse, limits: Limits = SMALL
) -> AsyncIterator[tuple[ComponentServer, Callable[..., Awaitable[JsonText]]]]:
    """A server with this script, and a function that executes a component on it."""
    server = ComponentServer(script)
    async with server.running() as url:
        components = Components({"/t": url}, limits=limits)
        await components.start(callback, None)

        def execute(payload: JsonText = "{}", component: str = "/t/double", scope: str = "task") -> Awaitable[JsonText]:
            return components.execute(component, payload, attempt=3, observability=CONTEXT, scope=scope)

        try:
            yield server, execute
        finally:
            await components.close()


async def failure(script: Script, *, callback: Callback = refuse, limits: Limits = SMALL) -> ComponentError:
    """What an execution fails with."""
    async with serving(script, callback=callback, limits=limits) as (_, execute):
        with pytest.raises(ComponentError) as caught:
            await execute()
    return caught.value


def request(number: int, method: str = "runs/submit") -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {"n": number}}


async def echo_number(text: bytes, scope: str) -> bytes:
    """A callback that answers with the number in the request."""
    message = json.loads(text)
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": [message["params"]["n"], scope]}).encode()


# What goes out and comes in


async def test_an_execution_looks_as_servers_expect_it() -> None:
    async def script(call: Call) -> None:
        await call.result({"output": 1})

    async with serving(script) as (server, execute):
        await execute('{"n": 1}')
    call = server.calls[-1]
    assert call.message.pop("id")
    assert call.message == {
        "jsonrpc": "2.0",
        "method": "components/execute",
        "params": {
            "component": "/double",
            "input": {"n": 1},
            "attempt": 3,
            "observability": {"run_id": "r", "step_id": "s"},
        },
    }
    assert call.headers["content-type"] == "application/json"
    assert call.headers["accept"] == "application/json, text/event-stream"


@pytest.mark.parametrize(
    "payload",
    ['{"b": 1e400, "a": [0.1234567890123456789, -0.0, 1152921504606846977]}', '"\\u0000 é \U0001f600"', "null", " 1 "],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_payloads_pass_unchanged(payload: str, streamed: bool) -> None:
    async def script(call: Call) -> None:
        assert b'"input":' + payload.encode() in call.body
        answer = f'{{"id": "{call.message["id"]}", "result": {{"output": {payload}}}, "jsonrpc": "2.0"}}'.encode()
        if streamed:
            await call.stream()
            await call.chunk(b"data: " + answer + b"\n\n")
        else:
            await call.respond(answer)

    async with serving(script) as (_, execute):
        assert await execute(payload) == payload.strip()


async def test_megabytes_pass_too() -> None:
    payload = json.dumps("x" * 3_000_000)

    async def script(call: Call) -> None:
        await call.result({"output": call.message["params"]["input"]})

    async with serving(script, limits=Limits()) as (_, execute):
        assert await execute(payload) == payload


async def test_many_executions_run_at_once() -> None:
    everybody = asyncio.Barrier(200)

    async def script(call: Call) -> None:
        await everybody.wait()
        await call.result({"output": call.message["params"]["input"]})

    async with serving(script) as (_, execute):
        assert await asyncio.gather(*(execute(str(n)) for n in range(200))) == [str(n) for n in range(200)]


# Errors that servers report


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Internal Server Error"])
async def test_a_reported_error_comes_through(status: str) -> None:
    async def script(call: Call) -> None:
        error = '{"code":-32100,"message":"no","data":{"x":1e400}}'
        await call.respond(f'{{"jsonrpc":"2.0","id":"{call.message["id"]}","error":{error}}}'.encode(), status=status)

    error = await failure(script)
    assert (error.code, error.message, error.data, error.unreachable) == (-32100, "no", '{"x":1e400}', False)


async def test_an_error_without_an_id_is_the_answer() -> None:
    async def script(call: Call) -> None:
        await call.respond(b'{"error":{"code":-32600,"message":"cannot read"}}', status="400 Bad Request")

    error = await failure(script)
    assert (error.code, error.message, error.data) == (-32600, "cannot read", None)


async def test_an_error_ends_an_event_stream() -> None:
    async def script(call: Call) -> None:
        await call.stream()
        error = {"code": -32603, "message": "Request execution failed", "data": None}
        await call.event({"jsonrpc": "2.0", "id": call.message["id"], "error": error})
        await call.closed()

    assert (await failure(script)).code == -32603


# Servers that break the protocol

ID = b"<id>"
BODIES = {
    "no JSON": b"hello",
    "nothing": b"",
    "no UTF-8": b'{"id":"<id>","result":{"output":"\xff"}}',
    "a lone surrogate": b'{"id":"<id>","result":{"output":"\\ud800"}}',
    "NaN": b'{"id":"<id>","result":{"output":NaN}}',
    "too deep": b'{"id":"<id>","result":{"output":' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
    "trailing text": b'{"id":"<id>","result":{"output":1}} 2',
    "an array": b'[{"id":"<id>","result":{"output":1}}]',
    "another id": b'{"id":"other","result":{"output":1}}',
    "a number for an id": b'{"id":7,"result":{"output":1}}',
    "no id": b'{"result":{"output":1}}',
    "no result": b'{"id":"<id>"}',
    "no output": b'{"id":"<id>","result":{}}',
    "a result that is no object": b'{"id":"<id>","result":[1]}',
    "an error that is no object": b'{"id":"<id>","error":"no"}',
    "an error without a message": b'{"id":"<id>","error":{"code":1}}',
    "an error with a code out of range": b'{"id":"<id>","error":{"code":9223372036854775808,"message":""}}',
    "too much": b'{"id":"<id>","result":{"output":"' + b"x" * 20_000 + b'"}}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_malformed_answer(body: bytes, streamed: bool) -> None:
    async def script(call: Call) -> None:
        answer = body.replace(ID, call.message["id"].encode())
        if streamed:
            await call.stream()
            await call.chunk(b"data: " + answer + b"\n\n")
            await call.closed()
        else:
            await call.respond(answer)

    error = await failure(script)
    assert (error.code, error.unreachable, error.may_pass) == (Code.PROTOCOL_BROKEN, False, False)
    assert error.message.startswith("the component server answered with ")
    assert "with with" not in error.message


@pytest.mark.parametrize("status", ["500 Internal Server Error", "302 Found", "404 Not Found"])
@pytest.mark.parametrize("body", [b"<html>", b'{"id":"<id>","result":{"output":1}}', b'{"error":"not an object"}'])
async def test_an_http_error(status: str, body: bytes) -> None:
    async def script(call: Call) -> None:
        await call.respond(body.replace(ID, call.message["id"].encode()), status=status)

    error = await failure(script)
    assert (error.code, error.may_pass) == (Code.PROTOCOL_BROKEN, status.startswith("5"))


@pytest.mark.parametrize("status", ["408 Request Timeout", "425 Too Early", "429 Too Many Requests", "503 Away"])
async def test_an_http_error_that_passes(status: str) -> None:
    async def script(call: Call) -> None:
        await call.respond(b"", status=status)

    assert (await failure(script)).may_pass


async def test_an_encoding_that_was_not_asked_for() -> None:
    async def script(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")

    error = await failure(script)
    assert (error.code, error.may_pass) == (Code.PROTOCOL_BROKEN, False)


async def test_something_that_is_not_http() -> None:
    async def script(call: Call) -> None:
        await call.send(b"220 mail.example.com ESMTP\r\n\r\n")

    assert (await failure(script)).code == Code.PROTOCOL_BROKEN


async def test_an_event_stream_of_garbage_ends() -> None:
    async def script(call: Call) -> None:
        await call.stream()
        while not call.writer.is_closing():
            await call.chunk(b": nothing to say\n")

    error = await failure(script)
    assert (error.code, "too large" in error.message, error.may_pass) == (Code.PROTOCOL_BROKEN, True, False)


async def test_an_event_stream_that_ends_without_an_answer() -> None:
    async def script(call: Call) -> None:
        await call.stream()
        await call.send(b"0\r\n\r\n")

    error = await failure(script)
    assert (error.code, error.unreachable, error.may_pass) == (Code.PROTOCOL_BROKEN, False, True)


async def test_a_request_in_the_place_of_the_answer() -> None:
    async def script(call: Call) -> None:
        await call.respond(json.dumps(request(1)).encode())

    assert (await failure(script)).code == Code.PROTOCOL_BROKEN


# Servers that are lost


async def test_a_server_that_is_not_there(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    components = Components({"/t": url})
    await components.start(refuse, None)
    with pytest.raises(ComponentError) as caught:
        await components.execute("/t/double", "{}", attempt=1, observability=CONTEXT, scope="t")
    assert (caught.value.code, caught.value.unreachable) == (Code.CONNECTION_LOST, True)
    assert caught.value.message == "the component server cannot be reached"
    await components.close()


async def vanish(call: Call) -> None:
    call.abort()


async def vanish_in_the_body(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    call.abort()


async def vanish_in_the_stream(call: Call) -> None:
    await call.stream()
    await call.chunk(b"data: {")
    call.abort()


@pytest.mark.parametrize("script", [vanish, vanish_in_the_body, vanish_in_the_stream])
async def test_a_server_that_vanishes(script: Script) -> None:
    error = await failure(script)
    assert (error.code, error.unreachable) == (Code.CONNECTION_LOST, True)


async def hang(call: Call) -> None:
    await call.closed()


async def hang_in_the_stream(call: Call) -> None:
    await call.stream()
    await call.closed()


@pytest.mark.parametrize("script", [hang, hang_in_the_stream])
async def test_a_server_that_hangs(script: Script) -> None:
    error = await failure(script, limits=Limits(execution_timeouts={"/t": 0.01}))
    assert (error.code, error.unreachable) == (Code.TIMED_OUT, False)


@pytest.mark.parametrize("hanging", ["initialize", "initialized", "components/list"])
async def test_a_server_that_hangs_in_the_handshake(hanging: str) -> None:
    class Hanging(ComponentServer):
        async def _serve(self, call: Call) -> None:
            await (call.closed() if call.message.get("method") == hanging else super()._serve(call))

    async with Hanging(hang).running() as url:
        limits = Limits(handshake_timeout=0.01)
        components = Components({"/t": url}, limits=limits)
        await components.start(refuse, None)
        with pytest.raises(ComponentError) as caught:
            await components.execute("/t/double", "{}", attempt=1, observability=CONTEXT, scope="t")
        assert (caught.value.code, caught.value.unreachable) == (Code.TIMED_OUT, True)
        await components.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancelled_execution_closes_its_connection(streamed: bool) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def script(call: Call) -> None:
        if streamed:
            await call.stream()
        arrived.set()
        await call.closed()
        closed.set()

    async with serving(script) as (_, execute):
        execution = asyncio.ensure_future(execute())
        await arrived.wait()
        execution.cancel()
        with pytest.raises(asyncio.CancelledError):
            await execution
        await closed.wait()


async def test_closing_fails_what_still_runs() -> None:
    arrived = asyncio.Event()

    async def script(call: Call) -> None:
        arrived.set()
        await call.closed()

    async with serving(script) as (_, execute):
        execution = asyncio.ensure_future(execute())
        await arrived.wait()
    with pytest.raises(ComponentError, match="shutting down") as caught:
        await execution
    assert caught.value.unreachable


# Requests of components


async def test_requests_are_served_at_once_and_answered_by_requests() -> None:
    together = asyncio.Barrier(3)
    answered = asyncio.Event()
    answers = {}

    async def callback(text: bytes, scope: str) -> bytes:
        await together.wait()
        return await echo_number(text, scope)

    async def script(call: Call) -> None:
        if "method" not in call.message:
            answers[call.message["id"]] = (call.message["result"], call.headers["stepflow-instance-id"])
            await call.accept()
            if len(answers) == 3:
                answered.set()
            return
        await call.stream("i-7")
        for number in range(3):
            await call.event(request(number))
        await answered.wait()
        await call.output("done")

    async with serving(script, callback=callback) as (_, execute):
        assert await execute(scope="task 5") == '"done"'
    assert answers == {number: ([number, "task 5"], "i-7") for number in range(3)}


@pytest.mark.parametrize("limits", [Limits(pending=3), Limits(pending_size=15_000)])
async def test_requests_beyond_the_limits_are_read_as_others_are_answered(limits: Limits) -> None:
    serving_now, most, answered = 0, 0, 0
    all_answered = asyncio.Event()

    async def callback(text: bytes, scope: str) -> bytes:
        nonlocal serving_now, most
        serving_now += 1
        most = max(most, serving_now)
        for _ in range(20):
            await asyncio.sleep(0)
        serving_now -= 1
        return await echo_number(text, scope)

    async def script(call: Call) -> None:
        nonlocal answered
        if "method" not in call.message:
            await call.accept()
            answered += 1
            if answered == 40:
                all_answered.set()
            return
        await call.stream()
        await call.chunk(b"".join(f"data: {json.dumps(request(n))}\n\n".encode() for n in range(40)))
        await all_answered.wait()
        await call.output("done")

    async with serving(script, callback=callback, limits=limits) as (_, execute):
        assert await execute() == '"done"'
    assert most <= 3


async def test_the_answer_ends_an_endless_stream() -> None:
    closed = asyncio.Event()

    async def script(call: Call) -> None:
        await call.stream()
        await call.output(1)
        await call.closed()
        closed.set()

    async with serving(script) as (_, execute):
        assert await execute() == "1"
        await closed.wait()


async def test_a_notification_gets_no_answer() -> None:
    seen = asyncio.Event()

    async def callback(text: bytes, scope: str) -> None:
        assert json.loads(text)["method"] == "progress"
        seen.set()

    async def script(call: Call) -> None:
        await call.stream()
        await call.event({"jsonrpc": "2.0", "method": "progress", "params": {}})
        await seen.wait()
        await call.output(1)

    async with serving(script, callback=callback) as (server, execute):
        assert await execute() == "1"
    assert None not in server.methods()


async def break_down(text: bytes, scope: str) -> bytes | None:
    raise RuntimeError("a secret")


async def say_nothing(text: bytes, scope: str) -> bytes | None:
    return None


@pytest.mark.parametrize("callback", [break_down, say_nothing])
async def test_a_request_that_cannot_be_served_gets_an_internal_error(callback: Callback) -> None:
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def script(call: Call) -> None:
        if "method" in call.message:
            await call.stream(instance=None)
            await call.event(request(4))
            await call.output(await answer)
        else:
            answer.set_result(call.message)
            await call.accept()

    async with serving(script, callback=callback) as (server, execute):
        output = json.loads(await execute())
    assert output == {"jsonrpc": "2.0", "id": 4, "error": {"code": -32603, "message": "Internal error"}}
    assert "stepflow-instance-id" not in server.calls[-1].headers


async def test_requests_still_served_at_the_end_are_cancelled() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def callback(text: bytes, scope: str) -> bytes | None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return None

    async def script(call: Call) -> None:
        await call.stream()
        await call.event(request(1))
        await started.wait()
        await call.output(1)

    async with serving(script, callback=callback) as (_, execute):
        assert await execute() == "1"
        assert cancelled.is_set()


@pytest.mark.parametrize("failing", ["connection", "500 Internal Server Error"])
@pytest.mark.parametrize("times", [1, 3])
async def test_an_answer_is_delivered_again_but_not_for_ever(failing: str, times: int) -> None:
    attempts = 0
    answered = asyncio.Event()

    async def script(call: Call) -> None:
        nonlocal attempts
        if "method" in call.message:
            await call.stream()
            await call.event(request(1))
            await answered.wait()
            await call.output(1)
            return
        attempts += 1
        if attempts > times:
            await call.accept()
            answered.set()
        elif failing == "connection":
            call.abort()
        else:
            await call.respond(b"", status=failing)

    async with serving(script, callback=echo_number) as (_, execute):
        if times == 1:
            assert await execute() == "1"
        else:
            with pytest.raises(ComponentError, match="did not take the answer") as caught:
                await execute()
            assert caught.value.unreachable
            assert attempts == 3


async def test_an_answer_that_is_not_understood_fails_the_execution() -> None:
    async def script(call: Call) -> None:
        if "method" in call.message:
            await call.stream()
            await call.event(request(1))
            await call.closed()
        else:
            await call.respond(b'{"error":{"code":-32600,"message":"what?"}}', status="400 Bad Request")

    error = await failure(script, callback=echo_number)
    assert (error.code, "did not understand" in error.message) == (Code.PROTOCOL_BROKEN, True)


async def test_an_answer_that_is_never_acknowledged_fails_the_execution() -> None:
    async def script(call: Call) -> None:
        if "method" in call.message:
            await call.stream()
            await call.event(request(1))
        await call.closed()

    error = await failure(script, callback=echo_number, limits=Limits(delivery_timeout=0.01))
    assert (error.code, error.unreachable) == (Code.CONNECTION_LOST, True)
