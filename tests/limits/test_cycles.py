"""A call that fails leaves no cycle: nothing of it stays in memory until the garbage collector runs.

Each case is one way in which a call can end without a result, and its request holds a payload of 100 KB. The fronts
are real. When the garbage is looked at, everything has been stopped, and only the gateway itself is still there.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2

from gateway.fronts.grpc.server import Transport
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.cycles import (
    BODY_LIMIT,
    JSON,
    LARGE,
    STREAM,
    TEXT,
    Case,
    Gateway,
    embedded,
    leaves_nothing,
    scripted,
)
from tests.support.followers import followed
from tests.support.garbage import PAYLOAD
from tests.support.grpc_calls import Client, read_all
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN

HEAD = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CUT = f"{HEAD}Content-Length: {2 * PAYLOAD}\r\n\r\n{LARGE}"


def call(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": LARGE, "method": method, "params": params}


def wait(run_id: str) -> dict[str, object]:
    return call("runs/get", runId=run_id, wait=True, unknown=LARGE)


SUBMIT = call("runs/submit", flowId=MISSING_BLOB, inputs=[LARGE])

# Over HTTP: what is refused

REFUSED: dict[str, tuple[object, int]] = {
    "not JSON": (b"{" + LARGE.encode(), -32700),
    "not UTF-8": (b'"\xff' + LARGE.encode(), -32700),
    "nested too deeply": (b"[" * PAYLOAD, -32700),
    "not a request": ({"id": LARGE}, -32600),
    "an unknown method": (call("runs/none", value=LARGE), -32601),
    "malformed parameters": (call("runs/submit", inputs=LARGE), -32602),
    "malformed inputs": (call("runs/submit", flowId=LARGE, inputs=[LARGE]), -32005),
    "an unknown flow": (SUBMIT, -32005),
    "a malformed flow": (call("blobs/put", blobType="flow", data={"steps": LARGE}), -32602),
    "a malformed run id": (call("runs/get", runId=LARGE), -32004),
    "an unknown run": (call("runs/get", runId=MISSING_RUN, unknown=LARGE), -32000),
    "a wait for an unknown run": (wait(MISSING_RUN), -32000),
    "an unknown blob": (call("blobs/get", blobId=MISSING_BLOB, unknown=LARGE), -32005),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("headers", [JSON, STREAM])
async def test_a_refusal_over_http(kind: str, headers: dict[str, str]) -> None:
    body, code = REFUSED[kind]

    async def refused(gateway: Gateway) -> None:
        status, answer = await gateway.post(body, headers=headers)
        assert (status, json.loads(answer)["error"]["code"]) == (200, code)
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        _, answer = await gateway.post(b"[%b,1]" % text)
        assert b'"error"' in answer

    await leaves_nothing(refused, embedded())


@pytest.mark.parametrize(
    ("path", "headers", "size", "status"),
    [
        ("/", {"Content-Type": "text/plain"}, PAYLOAD, 415),
        ("/nothing", JSON, PAYLOAD, 404),
        ("/health", JSON, PAYLOAD, 404),
        ("/", JSON, BODY_LIMIT, 413),
        ("/api/v1/blobs", JSON, PAYLOAD, 400),
        ("/api/v1/blobs/x", JSON, PAYLOAD, 405),
    ],
)
async def test_a_refusal_before_json_rpc(path: str, headers: dict[str, str], size: int, status: int) -> None:
    async def refused(gateway: Gateway) -> None:
        with suppress(aiohttp.ClientConnectionError):  # It may be refused while the body is being sent.
            assert (await gateway.post(b'{"x":"' + size * b"x", path, headers))[0] == status

    await leaves_nothing(refused, embedded())


# Over HTTP: what ends early


async def body_that_stops(gateway: Gateway) -> None:
    (await gateway.raw(CUT)).close()
    await gateway.post({})


async def malformed_http(gateway: Gateway) -> None:
    (await gateway.raw(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: y\r\n\r\n{LARGE}")).close()
    await gateway.post({})


async def client_that_leaves(gateway: Gateway) -> None:
    run_id = await gateway.submitted()
    batch = [wait(run_id), SUBMIT, wait(run_id)]
    for body, headers in ((wait(run_id), JSON), (wait(run_id), STREAM), (batch, JSON)):
        posting = asyncio.create_task(gateway.post(body, headers=headers))
        await followed(gateway.service, 2 if body is batch else 1)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        await followed(gateway.service, 0)


async def defect(gateway: Gateway) -> None:
    run_id = await gateway.submitted()
    waiting = [asyncio.create_task(gateway.post(wait(run_id), headers=headers)) for headers in (JSON, JSON, STREAM)]
    await followed(gateway.service, 3)
    await gateway.scripted.break_down(ValueError(LARGE))
    for status, answer in [*await asyncio.gather(*waiting), await gateway.post(SUBMIT)]:
        assert (status, b"-32603" in answer) == (200, True)


async def shutdown(gateway: Gateway) -> None:
    run_id = await gateway.submitted()
    waiting = [asyncio.create_task(gateway.post(wait(run_id), headers=headers)) for headers in (JSON, JSON, STREAM)]
    await followed(gateway.service, 3)
    await gateway.runtime.drain()
    for status, answer in [*await asyncio.gather(*waiting), await gateway.post(SUBMIT)]:
        assert (status, b"-32015" in answer) == (200, True)


async def key_that_was_used(gateway: Gateway) -> None:
    flow_id = await gateway.service.put_blob(FLOW)
    for text, code in (("", None), (LARGE, -32010)):
        body = call("runs/submit", flowId=flow_id, inputs=[text], subflowKey="k")
        answer = json.loads((await gateway.post(body))[1])
        assert answer.get("error", {}).get("code") == code


async def results_that_cannot_be_read(gateway: Gateway) -> None:
    run_id = await gateway.submitted()
    await gateway.scripted.succeed(0, TEXT)
    gateway.scripted.reading.clear()
    get = call("runs/get", runId=run_id, wait=True, includeResults=True, unknown=LARGE)
    reading = [asyncio.create_task(gateway.post(get, headers=headers)) for headers in (STREAM, STREAM, JSON)]
    await gateway.scripted.asked.wait()
    gateway.scripted.defect = ValueError(LARGE)
    gateway.scripted.reading.set()
    for _, answer in await asyncio.gather(*reading):
        assert b"-32603" in answer


@pytest.mark.parametrize(
    "case", [body_that_stops, malformed_http, client_that_leaves, defect, shutdown, results_that_cannot_be_read]
)
async def test_a_call_over_http_that_ends_early(case: Case) -> None:
    await leaves_nothing(case, scripted)


@pytest.mark.parametrize("runtime", ["scripted", "embedded"])
async def test_a_key_that_was_used(runtime: str) -> None:
    await leaves_nothing(key_that_was_used, embedded() if runtime == "embedded" else scripted)


# Over gRPC


def value() -> list[runs_pb2.JsonValue]:
    return [runs_pb2.JsonValue(json=TEXT)]


def add(run_id: str, **fields: Any) -> runs_pb2.WatchRunsRequest:
    return runs_pb2.WatchRunsRequest(add=runs_pb2.GetRunRequest(run_id=run_id, wait=True, **fields))


async def each(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


def get(run_id: str) -> runs_pb2.GetRunRequest:
    return runs_pb2.GetRunRequest(run_id=run_id, wait=True, resume_token=LARGE.encode())


REFUSED_CALLS: dict[str, Callable[[Client], Any]] = {
    "an unknown flow": lambda client: client.runs.SubmitRun(
        runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, inputs=value())
    ),
    "a malformed input": lambda client: client.runs.SubmitRun(
        runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, inputs=[runs_pb2.JsonValue(json=f"[{TEXT}")])
    ),
    "a malformed id": lambda client: client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=LARGE)),
    "a message above the limit": lambda client: client.runs.SubmitRun(
        runs_pb2.SubmitRunRequest(flow_id="x" * BODY_LIMIT)
    ),
    "a stream for an unknown flow": lambda client: client.runs.SubmitRunStream(
        each(
            runs_pb2.SubmitRunStreamRequest(parameters=runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, inputs=value()))
        )
    ),
    "a stream without parameters": lambda client: client.runs.SubmitRunStream(
        each(runs_pb2.SubmitRunStreamRequest(inputs=value()))
    ),
    "a stream above the limit": lambda client: client.runs.SubmitRunStream(
        each(
            runs_pb2.SubmitRunStreamRequest(parameters=runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB)),
            *[runs_pb2.SubmitRunStreamRequest(inputs=value())] * 3,
        )
    ),
    "an unknown run": lambda client: client.runs.GetRun(get(MISSING_RUN)),
    "a malformed run id": lambda client: client.runs.GetRun(get(LARGE)),
    "a malformed request to watch": lambda client: client.runs.WatchRuns(each(add(LARGE), runs_pb2.WatchRunsRequest())),
    "a malformed flow": lambda client: client.blobs.PutBlob(
        blobs_pb2.PutBlobRequest(json=f'{{"steps":{TEXT}}}', type=blobs_pb2.BLOB_TYPE_FLOW)
    ),
    "an unknown blob": lambda client: client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=MISSING_BLOB)),
    "an unknown health service": lambda client: client.health.Check(health_pb2.HealthCheckRequest(service=LARGE)),
}


@pytest.fixture(params=["grpcio", "native"])
def transport(request: Any) -> Transport:
    transport: Transport = request.param
    return transport


@pytest.mark.parametrize("kind", REFUSED_CALLS)
async def test_a_refusal_over_grpc(kind: str, transport: Transport) -> None:
    async def refused(gateway: Gateway) -> None:
        assert await _code(REFUSED_CALLS[kind](gateway.client)) is not grpc.StatusCode.OK

    await leaves_nothing(refused, embedded(), transport)


async def waiting_calls(gateway: Gateway, run_id: str) -> tuple[list[Any], list[Any]]:
    """One call of each kind that waits for a run and follows it, and the tasks that wait for their ends."""
    client, flow_id = gateway.client, await gateway.service.put_blob(FLOW)
    calls = [
        client.runs.GetRun(get(run_id)),
        client.runs.WatchRuns(each(add(run_id))),
        client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=value(), wait=True)),
    ]
    tasks = [asyncio.create_task(read_all(call) if hasattr(call, "read") else _answer(call)) for call in calls]
    await followed(gateway.service, len(calls))
    return calls, tasks


async def _answer(call: Any) -> Any:
    return await call


async def _code(call: Any) -> grpc.StatusCode:
    """The status of a call."""
    try:
        await (read_all(call) if hasattr(call, "read") else call)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def grpc_client_that_leaves(gateway: Gateway) -> None:
    calls, tasks = await waiting_calls(gateway, await gateway.submitted())
    for call in calls:
        call.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await followed(gateway.service, 0)


async def grpc_deadline(gateway: Gateway) -> None:
    run_id = await gateway.submitted()
    stream = gateway.client.runs.SubmitRunStream(timeout=0.2)
    head = runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, inputs=value())
    await stream.write(runs_pb2.SubmitRunStreamRequest(parameters=head))
    assert await _code(stream) is grpc.StatusCode.DEADLINE_EXCEEDED
    await _code(gateway.client.runs.WatchRuns(each(add(run_id)), timeout=0.2))


async def grpc_defect(gateway: Gateway) -> None:
    _, tasks = await waiting_calls(gateway, await gateway.submitted())
    await gateway.scripted.break_down(ValueError(LARGE))
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [grpc.aio.AioRpcError, list, grpc.aio.AioRpcError]


async def grpc_shutdown(gateway: Gateway) -> None:
    _, tasks = await waiting_calls(gateway, await gateway.submitted())
    await gateway.runtime.drain()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == 3 * [grpc.aio.AioRpcError]


async def grpc_stop(gateway: Gateway) -> None:
    _, tasks = await waiting_calls(gateway, await gateway.submitted())
    await gateway.grpc.stop(0)
    await asyncio.gather(*tasks, return_exceptions=True)


async def grpc_results_that_cannot_be_read(gateway: Gateway) -> None:
    run_id = await gateway.submitted()
    await gateway.scripted.succeed(0, TEXT)
    gateway.scripted.reading.clear()
    requests = [runs_pb2.GetRunRequest(run_id=run_id, wait=True, include_results=True)] * 3
    reading = [asyncio.create_task(read_all(gateway.client.runs.GetRun(request))) for request in requests]
    await gateway.scripted.asked.wait()
    gateway.scripted.defect = ValueError(LARGE)
    gateway.scripted.reading.set()
    for end in await asyncio.gather(*reading, return_exceptions=True):
        assert isinstance(end, grpc.aio.AioRpcError)


@pytest.mark.parametrize(
    "case",
    [
        grpc_client_that_leaves,
        grpc_deadline,
        grpc_defect,
        grpc_shutdown,
        grpc_stop,
        grpc_results_that_cannot_be_read,
    ],
)
async def test_a_call_over_grpc_that_ends_early(case: Case, transport: Transport) -> None:
    await leaves_nothing(case, scripted, transport)
