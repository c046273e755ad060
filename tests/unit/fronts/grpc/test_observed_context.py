"""Whatever clients do, each call that begins is counted once when it ends, with its status and its messages."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id

from gateway.telemetry import tracing
from gateway.telemetry.semconv import GRPC_CODES
from runs.v1 import runs_pb2
from tests.support.counted import Counted
from tests.support.grpc_calls import Client, read_all
from tests.support.scripted_runtime import MISSING_RUN, ScriptedRuntime

RUNS, HEALTH = "runs.v1.RunsService", "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1.ServerReflection"

Labels = tuple[str, str, str]
Outcome = tuple[Labels, str, int, int]
"""What a client has seen: the labels of the method, its code, and the messages in both directions."""


async def _one(call: Any) -> tuple[str, int]:
    """How a call has ended, and how many messages have answered it."""
    try:
        answers = await read_all(call) if hasattr(call, "read") else [await call]
    except grpc.aio.AioRpcError as error:
        name = error.code().name
        return "Canceled" if name == "CANCELLED" else name.title().replace("_", ""), 0
    return "OK", len(answers)


async def submit(client: Client, number: int) -> Outcome:
    request = runs_pb2.SubmitRunRequest(flow_id=await client.put_flow() if number % 2 else "")
    code, sent = await _one(client.runs.SubmitRun(request))
    return ("unary", RUNS, "SubmitRun"), code, 1, sent


async def get(client: Client, number: int) -> Outcome:
    run_id = (await client.submit(number % 3)).run_id if number % 2 else MISSING_RUN
    code, sent = await _one(client.get(run_id, include_results=True))
    return ("server_stream", RUNS, "GetRun"), code, 1, sent


async def follow_and_leave(client: Client, number: int) -> Outcome:
    call = client.get((await client.submit(1)).run_id, wait=True)
    await call.read()
    call.cancel()
    return ("server_stream", RUNS, "GetRun"), "Canceled", 1, 1


async def follow_until_the_deadline(client: Client, number: int) -> Outcome:
    call = client.health.Watch(health_pb2.HealthCheckRequest(), timeout=0.3)
    code, _ = await _one(call)
    return ("server_stream", HEALTH, "Watch"), code, 1, 1


async def watch(client: Client, number: int) -> Outcome:
    async def requests() -> AsyncIterator[runs_pb2.WatchRunsRequest]:
        for _ in range(number):
            yield runs_pb2.WatchRunsRequest(add=runs_pb2.GetRunRequest(run_id=MISSING_RUN))

    code, sent = await _one(client.watch(request_iterator=requests()))
    return ("bidi_stream", RUNS, "WatchRuns"), code, number, sent


async def upload(client: Client, number: int) -> Outcome:
    flow_id = await client.put_flow()

    async def requests() -> AsyncIterator[runs_pb2.SubmitRunStreamRequest]:
        if number:
            yield runs_pb2.SubmitRunStreamRequest(parameters=runs_pb2.SubmitRunRequest(flow_id=flow_id))
        for index in range(1, number):
            yield runs_pb2.SubmitRunStreamRequest(inputs=[runs_pb2.JsonValue(json=str(index))])

    code, sent = await _one(client.runs.SubmitRunStream(requests()))
    return ("client_stream", RUNS, "SubmitRunStream"), code, number, sent


async def check(client: Client, number: int) -> Outcome:
    request = health_pb2.HealthCheckRequest(service="" if number % 2 else "another")
    code, sent = await _one(client.health.Check(request))
    return ("unary", HEALTH, "Check"), code, 1, sent


async def list_health(client: Client, number: int) -> Outcome:
    call: Any = client.channel.unary_unary(f"/{HEALTH}/List")
    code, sent = await _one(call(Empty().SerializeToString()))
    return ("unary", HEALTH, "List"), code, 1, sent


async def reflect(client: Client, number: int) -> Outcome:
    async def requests() -> AsyncIterator[bytes]:
        for _ in range(number):
            yield b"\x3a\x00"

    call: Any = client.channel.stream_stream(f"/{REFLECTION}/ServerReflectionInfo")
    code, sent = await _one(call(requests()))
    return ("bidi_stream", REFLECTION, "ServerReflectionInfo"), code, number, sent


async def malformed(client: Client, number: int) -> Outcome:
    call: Any = client.channel.unary_unary(f"/{RUNS}/DeleteRun")
    code, sent = await _one(call(b"\xff" * (number + 1)))
    return ("unary", RUNS, "DeleteRun"), code, 1, sent


async def unknown(client: Client, number: int) -> Outcome:
    name = ("x.S/y", f"{RUNS}/zzz", f"{HEALTH}/zzz", f"x{number}")[number]
    kinds = (client.channel.unary_unary, client.channel.unary_stream)
    call: Any = kinds[number % 2](f"/{name}")
    code, sent = await _one(call(b"1" * number))
    return ("unary", "other", "other"), code, 0, sent


ACTIONS: list[Callable[[Client, int], Awaitable[Outcome]]] = [
    submit, get, follow_and_leave, follow_until_the_deadline, watch, upload, check, list_health, reflect, malformed,
    unknown
]  # fmt: skip


async def ended(counted: Counted) -> None:
    """Wait until all calls that began have ended: a client may know of the end of a call before the server does."""
    async with asyncio.timeout(3):
        while counted.total("grpc_server_started_total") > counted.total("grpc_server_handled_total"):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3)), max_size=8))
async def test_whatever_clients_do_each_call_counts_once(client: Client, actions: list[Any]) -> None:
    counted = Counted()
    outcomes = await asyncio.gather(*(action(client, number) for action, number in actions))
    await ended(counted)
    handled = counted.of("grpc_server_handled_total")
    started = counted.of("grpc_server_started_total")
    assert sum(handled.values()) == sum(started.values()) == counted.total("grpc_server_handling_seconds")
    assert all(sum(number for labels, number in handled.items() if labels[:3] == each) == started[each]
               for each in started)  # fmt: skip
    assert not counted.total("runs_gateway_open_streams")
    # Others are made on the way: blobs are put, and runs submitted.
    # At a deadline, whoever is first ends the call: the client, which cancels it, or the server.
    known = [outcome for outcome in outcomes if outcome[0][2] not in ("SubmitRun", "Watch")]
    assert {labels[3] for labels in handled if labels[2] == "Watch"} <= {"Canceled", "DeadlineExceeded"}
    for (labels, code), number in Counter((labels, code) for labels, code, _, _ in known).items():
        assert handled[*labels, code] == number
    for name, index in (("grpc_server_msg_received_total", 2), ("grpc_server_msg_sent_total", 3)):
        grown = counted.of(name)
        for labels in {outcome[0] for outcome in known}:
            expected = sum(outcome[index] for outcome in known if outcome[0] == labels)
            assert grown.get(labels, 0) == expected, (name, labels)


async def test_calls_of_unknown_methods_are_counted_together(client: Client) -> None:
    counted = Counted()
    outcomes = [await unknown(client, number) for number in range(4)]
    await ended(counted)
    assert {outcome[:2] for outcome in outcomes} == {(("unary", "other", "other"), "Unimplemented")}
    assert counted.of("grpc_server_handled_total") == {("unary", "other", "other", "Unimplemented"): 4}


async def test_codes_are_written_as_dashboards_know_them(client: Client) -> None:
    counted = Counted()
    with pytest.raises(grpc.aio.AioRpcError):
        await read_all(client.get("x"))
    with pytest.raises(grpc.aio.AioRpcError):
        await read_all(client.get(MISSING_RUN))
    await ended(counted)
    labels = ("server_stream", RUNS, "GetRun")
    assert set(counted.of("grpc_server_handled_total")) == {(*labels, "NotFound"), (*labels, "InvalidArgument")}
    assert len(GRPC_CODES) == 17


async def test_a_stream_is_open_until_it_ends(client: Client, runtime: ScriptedRuntime) -> None:
    counted = Counted()
    call = client.get((await client.submit(1)).run_id, wait=True)
    await call.read()
    assert counted.of("runs_gateway_open_streams") == {(f"{RUNS}/GetRun",): 1}
    await runtime.start(0)
    await runtime.succeed(0)
    await read_all(call)
    await ended(counted)
    assert counted.of("runs_gateway_open_streams") == {}


async def test_a_span_goes_on_from_metadata_or_from_the_request(client: Client) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    request = runs_pb2.GetRunRequest(run_id=MISSING_RUN)
    request.observability.trace_id, request.observability.span_id = trace_id, span_id
    counted = Counted()
    with tracing.traced_by(provider):
        for metadata in ((("traceparent", f"00-{trace_id}-{'1' * 16}-01"),), ()):
            with pytest.raises(grpc.aio.AioRpcError):
                await read_all(client.runs.GetRun(request, metadata=metadata))
        await ended(counted)
    first, second = exporter.get_finished_spans()
    assert first.name == second.name == f"{RUNS}/GetRun"
    assert [each.parent and format_span_id(each.parent.span_id) for each in (first, second)] == ["1" * 16, span_id]
    assert first.attributes is not None
    assert first.attributes["rpc.grpc.status_code"] == 5
    assert first.status.status_code is StatusCode.UNSET


async def test_a_call_that_fails_by_a_defect_is_internal(client: Client, runtime: ScriptedRuntime) -> None:
    counted = Counted()
    runtime.defect = RuntimeError("a defect")
    with pytest.raises(grpc.aio.AioRpcError):
        await read_all(client.get(MISSING_RUN))
    await ended(counted)
    assert counted.of("grpc_server_handled_total") == {("server_stream", RUNS, "GetRun", "Internal"): 1}
