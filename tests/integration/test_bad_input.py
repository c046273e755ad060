"""Everything malformed is refused by its field, on either transport, and the gateway goes on."""

import asyncio
import json
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import ListValue, Value

from gateway.core.errors import GatewayError, InvalidParams
from gateway.core.model import Blob, BlobType, GetParams, RunState, SubmitParams
from runs.v1 import blobs_pb2, runs_pb2
from tests.integration.conftest import Gateway, Start
from tests.support.clients import gateway_error
from tests.support.component_server import Call, ComponentServer, Script

DEEP = "[" * 100_000 + "]" * 100_000
NOT_JSON = {
    "NaN": "NaN",
    "Infinity": '{"a":-Infinity}',
    "trailing text": "1 2",
    "lone surrogate": '"\\ud800"',
    "deep": DEEP,
    "cut": '{"a":',
    "empty": "",
    "single quotes": "{'a':1}",
}
ECHO = '{"output":{"$input":"$"}}'


@pytest.fixture
async def gateway(start: Start) -> Gateway:
    return await start()


@pytest.fixture
async def flow_id(gateway: Gateway) -> str:
    return await gateway.grpc.put_blob(Blob(ECHO, BlobType.FLOW))


async def refused(method: Any, request: Any) -> GatewayError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await method(request)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return gateway_error(raised.value)


def fields(error: GatewayError) -> list[str]:
    assert isinstance(error, InvalidParams)
    return [violation.path[0] for violation in error.violations if isinstance(violation.path[0], str)]


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_not_json_is_refused_over_grpc(gateway: Gateway, flow_id: str, text: str) -> None:
    good, bad = runs_pb2.JsonValue(json="1"), runs_pb2.JsonValue(json=text)
    submit = gateway.grpc.runs.SubmitRun
    error = await refused(submit, runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[good, bad]))
    assert isinstance(error, InvalidParams)
    assert error.violations[0].path == ("inputs", 1, "json")
    error = await refused(submit, runs_pb2.SubmitRunRequest(flow_id=flow_id, overrides=bad))
    assert fields(error) == ["overrides"]
    error = await refused(submit, runs_pb2.SubmitRunRequest(flow_id=flow_id, variables={"v": bad}))
    assert isinstance(error, InvalidParams)
    assert error.violations[0].path[:2] == ("variables", "v")
    assert fields(await refused(gateway.grpc.blobs.PutBlob, blobs_pb2.PutBlobRequest(json=text))) == ["json"]


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_not_json_is_no_jsonrpc(gateway: Gateway, flow_id: str, text: str) -> None:
    body = (
        f'{{"jsonrpc":"2.0","id":1,"method":"runs/submit","params":{{"flowId":"{flow_id}","inputs":[{text or "}"}]}}}}'
    )
    answer = json.loads(await gateway.jsonrpc.post(body))
    assert (answer["id"], answer["error"]["code"]) == (None, -32700)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("flow_id", {"flow_id": ""}),
        ("flow_id", {"flow_id": "sha256:xyz"}),
        ("inputs", {"inputs": [runs_pb2.JsonValue()]}),
        ("inputs", {"inputs": [runs_pb2.JsonValue(value=Value(number_value=float("nan")))]}),
        ("inputs", {"inputs": [runs_pb2.JsonValue(value=Value(list_value=ListValue(values=[Value()])))]}),
        ("max_concurrency", {"max_concurrency": 0}),
        ("overrides", {"overrides": runs_pb2.JsonValue(json="[]")}),
        ("timeout", {"timeout": Duration(seconds=-1)}),
        ("idempotency_key", {"idempotency_key": "k" * 256}),
        ("flow_label", {"flow_label": "l" * 256}),
        ("result_encoding", {"result_encoding": 99}),
        ("variables", {"variables": {"v": runs_pb2.JsonValue()}}),
    ],
)
async def test_bad_parameters_are_refused_over_grpc(
    gateway: Gateway, flow_id: str, field: str, changes: dict[str, Any]
) -> None:
    request = runs_pb2.SubmitRunRequest(**{"flow_id": flow_id, **changes})
    assert fields(await refused(gateway.grpc.runs.SubmitRun, request)) == [field]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("flowId", {"flowId": None}),
        ("flowId", {"flowId": 7}),
        ("flowId", {"flowId": ""}),
        ("inputs", {"inputs": None}),
        ("inputs", {"inputs": {}}),
        ("wait", {"wait": "yes"}),
        ("maxConcurrency", {"maxConcurrency": 0}),
        ("maxConcurrency", {"maxConcurrency": -1}),
        ("maxConcurrency", {"maxConcurrency": 1.5}),
        ("maxConcurrency", {"maxConcurrency": "3"}),
        ("overrides", {"overrides": [1]}),
        ("timeoutSecs", {"timeoutSecs": -0.1}),
        ("subflowKey", {"subflowKey": ""}),
        ("observability", {"observability": "trace"}),
    ],
)
async def test_bad_parameters_are_refused_over_jsonrpc(
    gateway: Gateway, flow_id: str, field: str, changes: dict[str, Any]
) -> None:
    params = {"flowId": flow_id, "inputs": [], **changes}
    request = {"jsonrpc": "2.0", "id": "x", "method": "runs/submit", "params": params}
    answer = json.loads(await gateway.jsonrpc.post(json.dumps(request)))
    assert answer["id"] == "x"
    assert [violation["field"] for violation in answer["error"]["data"]["violations"]] == [field]


async def test_messages_over_the_limit_are_refused_and_the_connection_lives(start: Start) -> None:
    gateway = await start(max_message_bytes=1 << 20)
    flow_id = await gateway.grpc.put_blob(Blob(ECHO, BlobType.FLOW))
    large = '"' + "x" * (1 << 20) + '"'
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await gateway.grpc.runs.SubmitRun(
            runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[runs_pb2.JsonValue(json=large)])
        )
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    answer = json.loads(await gateway.jsonrpc.post(f'{{"jsonrpc":"2.0","id":1,"method":"x","params":[{large}]}}'))
    assert answer["error"]["data"]["reason"] == "PAYLOAD_TOO_LARGE"
    for client in (gateway.grpc, gateway.jsonrpc):
        status = await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True))
        assert status.status is RunState.SUCCESS


async def rubbish(call: Call) -> None:
    await call.respond(b"<html>not JSON</html>")


async def other_id(call: Call) -> None:
    await call.respond(b'{"jsonrpc":"2.0","id":"other","result":{"output":1}}')


async def server_error(call: Call) -> None:
    await call.respond(b"secret stack trace", status="500 Internal Server Error", content_type="text/plain")


async def dies(call: Call) -> None:
    call.abort()


async def half_a_body(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    call.abort()


async def stream_without_an_answer(call: Call) -> None:
    await call.stream()
    await call.send(b"0\r\n\r\n")


@pytest.mark.parametrize("script", [rubbish, other_id, server_error, dies, half_a_body, stream_without_an_answer])
async def test_a_component_server_that_misbehaves_fails_the_item(start: Start, script: Script) -> None:
    async with ComponentServer(script).running() as url:
        gateway = await start(components={"/bad": url})
        result = (await run_component(gateway, "/bad/double")).results[0]
        assert result.status is RunState.FAILED
        assert -32399 <= result.error.code <= -32300
        assert "secret" not in result.error.message


async def test_a_stream_that_never_ends_ends_with_its_answer(start: Start) -> None:
    async def answers_and_goes_on(call: Call) -> None:
        await call.stream()
        await call.output({"done": True})
        await call.closed()

    async with ComponentServer(answers_and_goes_on).running() as url:
        gateway = await start(components={"/odd": url})
        assert (await run_component(gateway, "/odd/double")).results[0].value == '{"done": true}'


async def test_a_component_server_that_hangs_holds_its_own_item_only(start: Start) -> None:
    entered = asyncio.Event()

    async def hangs(call: Call) -> None:
        entered.set()
        await call.closed()

    async with ComponentServer(hangs).running() as url:
        gateway = await start(components={"/slow": url})
        stuck = await run_component(gateway, "/slow/double", timeout=0.01)
        assert stuck.results == []
        await entered.wait()
        assert (await gateway.grpc.get(GetParams(run_id=stuck.run_id))).status is RunState.RUNNING
        flow_id = await gateway.grpc.put_blob(Blob(ECHO, BlobType.FLOW))
        assert (await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True))).status.terminal
        assert (await gateway.grpc.get(GetParams(run_id=stuck.run_id))).items.running == 1


async def run_component(gateway: Gateway, component: str, **params: Any) -> Any:
    """The status of a run whose only step is a component."""
    flow = f'{{"steps":[{{"id":"s","component":"{component}","input":{{}}}}],"output":{{"$step":"s"}}}}'
    flow_id = await gateway.grpc.put_blob(Blob(flow, BlobType.FLOW))
    return await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True, **params))
