"""Whatever is sent, each call of JSON-RPC that begins is counted once when it ends, with its code and its messages."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from gateway.core.model import SubmitParams
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.telemetry import tracing
from gateway.telemetry.call_log import CallLog
from tests.support.counted import Counted
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime

STARTED, HANDLED = "jsonrpc_server_started_total", "jsonrpc_server_handled_total"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
JSON, EVENTS = {"Content-Type": "application/json"}, {"Accept": "text/event-stream"}

CALLS: dict[str, tuple[dict[str, Any], str, str]] = {
    "get": ({"method": "runs/get", "params": {"runId": MISSING_RUN}}, "runs/get", "-32000"),
    "list": ({"method": "runs/list"}, "runs/list", "ok"),
    "put": ({"method": "blobs/put", "params": {"data": 1}}, "blobs/put", "ok"),
    "submit": ({"method": "runs/submit", "params": {"flowId": ""}}, "runs/submit", "-32602"),
    "watch": ({"method": "runs/watch"}, "runs/watch", "-32600"),
    "unknown": ({"method": "runs/another"}, "unknown", "-32601"),
    "no method": ({"method": 1}, "unknown", "-32600"),
}
"""What is called, how it counts, and its code."""


class Front:
    """A front, and a client of it."""

    def __init__(self, front: HttpFront, http: aiohttp.ClientSession, methods: JsonRpcMethods) -> None:
        self.methods = methods
        self._url = f"http://{front.address}"
        self._http = http

    async def post(self, body: Any, path: str = "/", **headers: str) -> tuple[int, str]:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._http.post(f"{self._url}{path}", data=text, headers=JSON | headers) as response:
            return response.status, await response.text()

    async def get(self, path: str, **headers: str) -> int:
        async with self._http.get(f"{self._url}{path}", headers=headers) as response:
            await response.read()
            return response.status


@pytest.fixture
async def front(service: RunsService) -> AsyncIterator[Front]:
    methods = JsonRpcMethods(RunsServices(service))
    front = HttpFront(methods, "127.0.0.1:0")
    await front.start()
    async with aiohttp.ClientSession() as http:
        yield Front(front, http, methods)
    await front.stop(0)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.traced_by(provider):
        yield exporter


def call(name: str, **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", **CALLS[name][0], **members}


def parents_of(*ended: ReadableSpan) -> list[tuple[str, str] | None]:
    return [each.parent and (format_trace_id(each.parent.trace_id), format_span_id(each.parent.span_id))
            for each in ended]  # fmt: skip


named = st.sampled_from(sorted(CALLS))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    bodies=st.lists(st.lists(st.tuples(named, st.booleans()), min_size=1, max_size=4), max_size=4), inside=st.booleans()
)
async def test_whatever_is_called_each_call_counts_once(front: Front, bodies: list[Any], inside: bool) -> None:
    counted = Counted()
    expected: Counter[tuple[str, str, str]] = Counter()
    answers = 0
    origin = "component" if inside else "client"
    for body in bodies:
        calls = [call(name, **({"id": 1} if answered else {})) for name, answered in body]
        given: Any = calls if len(calls) > 1 else calls[0]
        text = json.dumps(given)
        await (front.methods.call(text.encode(), "a/b/c") if inside else front.post(given))
        for name, answered in body:
            _, method, code = CALLS[name]
            expected[method, origin, code] += 1
            answers += answered or name == "no method"
    assert counted.of(HANDLED) == expected
    assert counted.total(STARTED) == counted.total("jsonrpc_server_msg_received_total") == sum(expected.values())
    assert counted.total("jsonrpc_server_handling_seconds") == sum(expected.values())
    assert counted.total("jsonrpc_server_msg_sent_total") == answers


async def test_requests_that_are_refused_count_as_calls(front: Front) -> None:
    counted = Counted()
    await front.post(b"{")
    await front.post({}, **{"Content-Type": "text/plain"})
    assert counted.of(HANDLED) == {("unknown", "client", "-32700"): 1, ("unknown", "client", "-32600"): 1}
    assert counted.of("runs_gateway_http_requests_total") == {("/", "200"): 1, ("/", "415"): 1}


async def test_requests_count_by_paths_that_no_client_makes_up(front: Front) -> None:
    counted = Counted()
    for path in ("/health", "/livez", "/a", "/b", f"/api/v1/blobs/{MISSING_BLOB}"):
        await front.get(path)
    assert set(counted.of("runs_gateway_http_requests_total")) == {
        ("/health", "200"), ("/livez", "200"), ("other", "404"), ("/api/v1/blobs", "404")
    }  # fmt: skip


async def test_a_stream_counts_its_events_and_is_open_until_it_ends(
    front: Front, service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await service.submit(SubmitParams(flow_id=await service.put_blob(FLOW), inputs=["1"]))
    counted = Counted()
    body = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": run.run_id, "wait": True}}
    following = asyncio.create_task(front.post(body, **EVENTS))
    async with asyncio.timeout(10):
        while not counted.of("runs_gateway_open_streams"):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await runtime.start(0)
    await runtime.succeed(0)
    _, text = await following
    assert counted.of("jsonrpc_server_msg_sent_total") == {("runs/get", "client"): text.count("\ndata: ") + (
        text.startswith("data: "))}  # fmt: skip
    assert counted.of(HANDLED) == {("runs/get", "client", "ok"): 1}
    assert not counted.of("runs_gateway_open_streams")


async def test_a_stream_whose_client_leaves_is_cancelled(front: Front, service: RunsService) -> None:
    run = await service.submit(SubmitParams(flow_id=await service.put_blob(FLOW), inputs=["1"]))
    counted = Counted()
    body = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": run.run_id, "wait": True}}
    following = asyncio.create_task(front.post(body, **EVENTS))
    async with asyncio.timeout(10):
        while not counted.total("jsonrpc_server_msg_sent_total"):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        following.cancel()
        while not counted.of(HANDLED):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert counted.of(HANDLED) == {("runs/get", "client", "canceled"): 1}


@pytest.mark.parametrize("method", ["list", "get", "watch"])
async def test_meta_is_a_parameter_of_every_method(front: Front, method: str) -> None:
    params = {**CALLS[method][0].get("params", {}), "_meta": {"traceparent": PARENT}}
    _, text = await front.post(call(method, id=1, params=params))
    assert str(json.loads(text).get("error", {}).get("code", "ok")) == CALLS[method][2]


async def test_the_parent_of_a_call_is_in_headers_or_meta_or_observability(
    front: Front, spans: InMemorySpanExporter
) -> None:
    other = PARENT.replace(SPAN_ID, SPAN_ID[::-1])
    meta = {"_meta": {"traceparent": other}}
    observability = {"trace_id": TRACE_ID, "span_id": "1" * 16}
    run: dict[str, Any] = {"runId": MISSING_RUN, "observability": observability}
    await front.post(call("get", id=1, params={**run, **meta}), traceparent=PARENT)
    await front.post(call("get", id=1, params={**run, **meta}))
    await front.post(call("get", id=1, params=run))
    await front.post(call("get", id=1))
    ended = spans.get_finished_spans()
    assert {each.name for each in ended} == {"runs/get"}
    assert {each.kind for each in ended} == {SpanKind.SERVER}
    assert parents_of(*ended) == [
        (TRACE_ID, SPAN_ID), (TRACE_ID, SPAN_ID[::-1]), (TRACE_ID, "1" * 16), None
    ]  # fmt: skip


async def test_a_span_tells_of_its_call_and_is_an_error_by_the_fault_of_the_server_only(
    front: Front, runtime: ScriptedRuntime, spans: InMemorySpanExporter
) -> None:
    await front.post([call("get", id="a"), call("get", id=2)])
    runtime.defect = RuntimeError("a defect")
    await front.post(call("get", id=None))
    missing, also, defect = spans.get_finished_spans()
    assert missing.attributes == {
        "rpc.system": "jsonrpc",
        "rpc.method": "runs/get",
        "rpc.jsonrpc.version": "2.0",
        "rpc.jsonrpc.request_id": "a",
        "rpc.jsonrpc.error_code": -32000,
        "runs.run.id": MISSING_RUN,
    }
    assert also.attributes is not None
    assert also.attributes["rpc.jsonrpc.request_id"] == "2"
    assert missing.status.status_code is StatusCode.UNSET
    assert defect.status.status_code is StatusCode.ERROR
    assert defect.attributes is not None
    assert defect.attributes["error.type"] == "-32603"


async def test_what_goes_to_the_runtime_belongs_to_the_span(
    front: Front, runtime: ScriptedRuntime, spans: InMemorySpanExporter, service: RunsService
) -> None:
    seen: list[SubmitParams] = []
    submit = runtime.submit

    async def noted(params: SubmitParams, scope: str) -> Any:
        seen.append(params)
        return await submit(params, scope)

    runtime.submit = noted  # type: ignore[method-assign]
    flow_id = await service.put_blob(FLOW)
    task = {"trace_id": TRACE_ID, "span_id": SPAN_ID, "run_id": MISSING_RUN}
    params = {"flowId": flow_id, "inputs": [], "observability": task}
    await front.post({"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params})
    await front.post({"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": {**params, "subflowKey": "k"}})
    await front.post({"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": {"flowId": flow_id, "inputs": []}})
    first, second, third = (each.observability for each in seen)
    own = [format_span_id(each.context.span_id) for each in spans.get_finished_spans() if each.context is not None]
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.run_id, first.trace_id) == (MISSING_RUN, TRACE_ID)
    assert first.span_id == own[0]
    # A key counts within the task that its trace names, wherever it is passed on to.
    assert second.span_id == SPAN_ID
    assert third.span_id == own[2]


async def test_the_blob_api_has_spans_that_name_no_blob(front: Front, spans: InMemorySpanExporter) -> None:
    await front.post({"data": 1}, "/api/v1/blobs", traceparent=PARENT)
    await front.get(f"/api/v1/blobs/{MISSING_BLOB}")
    await front.get("/health")
    put, got = spans.get_finished_spans()
    assert (put.name, got.name) == ("POST /api/v1/blobs", "GET /api/v1/blobs/{blobId}")
    assert parents_of(put, got) == [(TRACE_ID, SPAN_ID), None]
    assert got.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/v1/blobs/{blobId}",
        "http.response.status_code": 404,
    }


async def test_the_blob_api_has_lines_that_name_no_blob(
    front: Front, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests may have had all lines of this second.
    monkeypatch.setattr("gateway.fronts.http.observed_requests.CALL_LOG", CallLog())
    caplog.set_level(logging.INFO, "gateway.calls")
    await front.post({"data": 1}, "/api/v1/blobs")
    await front.get(f"/c/SECRET/api/v1/blobs/{MISSING_BLOB}")
    lines = [record.message.partition(", ")[0] for record in caplog.records if record.name == "gateway.calls"]
    assert lines == ["POST /api/v1/blobs: 200", "GET /api/v1/blobs/{blobId}: 404"]
