import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2

from gateway.adapter import params_proto, status_proto
from gateway.adapter.proto_wire import field_at
from gateway.core.errors import RemoteError
from gateway.core.model import ItemError
from gateway.fronts.grpc import SERVICES, GrpcFront, GrpcLimits
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.grpc_calls import Client, Serve, failure, read_all, violated
from tests.support.scripted_runtime import MISSING_BLOB, MISSING_RUN, ScriptedRuntime, fold
from tests.support.tasks import all_ended

GRACE = 5.0
BY_INDEX = runs_pb2.RESULT_ORDER_BY_INDEX
BY_COMPLETION = runs_pb2.RESULT_ORDER_BY_COMPLETION
UNKNOWN: Any = 77
CLIENT_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


# Runs


async def test_submit_and_follow_to_the_end(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit(flow_label="nightly")
    assert run.status == runs_pb2.RUN_STATE_PENDING
    assert (run.items.total, run.items.pending, run.flow_name, run.flow_label) == (4, 4, "scripted", "nightly")
    assert not run.HasField("completed_at")
    stream = client.get(run.run_id, wait=True, include_results=True)
    assert (await stream.read()).run == run
    await runtime.succeed(1, '{"b":1,"a":1e400}')
    update = (await stream.read()).run
    assert (update.status, update.items.success, list(update.results)) == (runs_pb2.RUN_STATE_RUNNING, 1, [])
    await runtime.fail(0, ItemError(code=-32100, message="component failed", data="[1]"))
    first, second = (await stream.read()).run.results
    assert (first.item_index, first.error.code, first.error.message) == (0, -32100, "component failed")
    assert first.error.data.json == "[1]"
    assert (second.item_index, second.value.json) == (1, '{"b":1,"a":1e400}')
    await runtime.succeed(2)
    assert [result.item_index for result in (await stream.read()).run.results] == [2]
    await runtime.cancel_item(3)
    last = (await stream.read()).run
    assert (last.status, last.results[0].status) == (runs_pb2.RUN_STATE_FAILED, runs_pb2.RUN_STATE_CANCELLED)
    assert last.HasField("completed_at")
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("order", [BY_INDEX, BY_COMPLETION])
@pytest.mark.parametrize("include_results", [False, True])
@pytest.mark.parametrize("wait", [False, True])
async def test_a_stream_folds_to_the_answer_of_get(
    client: Client,
    service: RunsService,
    runtime: ScriptedRuntime,
    wait: bool,
    include_results: bool,
    order: runs_pb2.ResultOrder.ValueType,
) -> None:
    run = await client.submit()
    await runtime.succeed(2, "2")
    request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=wait, include_results=include_results, result_order=order)
    stream = client.runs.GetRun(request)
    messages: list[Any] = [await stream.read()]
    for index in (0, 3, 1) if wait else ():
        await runtime.succeed(index, str(index))
    messages += await read_all(stream)
    updates = [status_proto.run_status_from_proto(message.run, with_results=include_results) for message in messages]
    assert fold(updates) == await service.get(params_proto.get_params_from_proto(request))


async def test_submit_waits_for_the_results(client: Client, runtime: ScriptedRuntime) -> None:
    submitting = asyncio.create_task(client.submit(inputs=2, wait=True))
    await runtime.submitted(1)
    await runtime.succeed(1, '"one"')
    await runtime.succeed(0, '"zero"')
    run = await submitting
    assert run.status == runs_pb2.RUN_STATE_SUCCESS
    assert [result.value.json for result in run.results] == ['"zero"', '"one"']


async def test_submit_answers_with_the_current_status_after_the_timeout(client: Client) -> None:
    run = await client.submit(wait=True, timeout={"seconds": 0})
    assert run.status == runs_pb2.RUN_STATE_PENDING


async def test_submit_answers_with_the_run_before_the_deadline(
    client: Client, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.runs.deadlines.LEAST_MARGIN", 60.0)
    flow_id = await client.put_flow()
    request = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[runs_pb2.JsonValue(json="1")], wait=True)
    run = (await client.runs.SubmitRun(request, timeout=60)).run
    assert (run.run_id, run.status) == (runtime.run_ids[0], runs_pb2.RUN_STATE_PENDING)


async def test_a_stream_ends_with_the_current_state_before_the_deadline(
    client: Client, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.runs.deadlines.LEAST_MARGIN", 60.0)
    run = await client.submit()
    await runtime.succeed(2)
    stream = client.get(run.run_id, wait=True, include_results=True, call_timeout=60)
    messages = [message.run for message in await read_all(stream)]
    assert await stream.code() is grpc.StatusCode.OK
    assert [[result.item_index for result in message.results] for message in messages] == [[], [2]]


async def test_a_call_that_exceeds_its_deadline_leaves_nothing_behind(
    serve: Serve, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for margin in ("LEAST_MARGIN", "MOST_MARGIN"):
        monkeypatch.setattr(f"gateway.runs.deadlines.{margin}", -60.0)
    front, client = await serve()
    run = await client.submit()
    code, _, _ = await failure(client.get(run.run_id, wait=True, call_timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    await runtime.watched(0)
    await client.close()
    await front.stop(GRACE)
    await all_ended()


async def test_an_idempotency_key_makes_submit_safe_to_repeat(client: Client, runtime: ScriptedRuntime) -> None:
    first = await client.submit(idempotency_key="key")
    assert (await client.submit(idempotency_key="key")).run_id == first.run_id
    flow_id = await client.put_flow()
    other = runs_pb2.SubmitRunRequest(flow_id=flow_id, idempotency_key="key")
    code, _, details = await failure(client.runs.SubmitRun(other))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert details["ErrorInfo"].reason == "IDEMPOTENCY_KEY_REUSED"
    assert runtime.scopes == ["", "", ""]


@pytest.mark.parametrize("encoding", [runs_pb2.RESULT_ENCODING_JSON, runs_pb2.RESULT_ENCODING_VALUE])
async def test_many_results_come_in_messages_that_any_client_takes(
    client: Client, runtime: ScriptedRuntime, encoding: runs_pb2.ResultEncoding.ValueType
) -> None:
    run = await client.submit(inputs=1000)
    value = "[" + ",".join(["[]"] * 1000) + "]"
    for index in range(1000):
        await runtime.succeed(index, value)
    stream = client.get(run.run_id, include_results=True, result_encoding=encoding)
    messages = await read_all(stream)
    assert max(message.ByteSize() for message in messages) < 1.2 * 2**20
    assert [result.item_index for message in messages for result in message.run.results] == list(range(1000))
    assert {message.run.items.success for message in messages} == {1000}


async def test_values_come_as_values_when_asked_for(client: Client, runtime: ScriptedRuntime) -> None:
    submitting = asyncio.create_task(
        client.submit(inputs=300, wait=True, result_encoding=runs_pb2.RESULT_ENCODING_VALUE)
    )
    await runtime.submitted(1)
    for index in range(300):
        await runtime.succeed(index, f'{{"index":{index}}}')
    run = await submitting
    assert [json_format.MessageToDict(result.value.value) for result in run.results] == [
        {"index": float(index)} for index in range(300)
    ]


async def test_results_too_large_for_one_answer_are_left_out(serve: Serve, runtime: ScriptedRuntime) -> None:
    _, client = await serve(GrpcLimits(send=10_000))
    flow_id = await client.put_flow()
    inputs = [runs_pb2.JsonValue(json="1")] * 2
    request = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=inputs, wait=True)
    for lengths, omitted in (((6_000, 6_000), True), ((4_000, 5_950), True), ((4_000, 4_000), False)):
        submitting = asyncio.ensure_future(client.runs.SubmitRun(request))
        await runtime.watched(1)
        for index, length in enumerate(lengths):
            await runtime.succeed(index, '"' + "x" * length + '"')
        response = await submitting
        assert response.results_omitted is omitted
        assert (response.run.status, response.run.items.success) == (runs_pb2.RUN_STATE_SUCCESS, 2)
        assert len(response.run.results) == (0 if omitted else 2)
        messages = await read_all(client.get(response.run.run_id, include_results=True))
        assert [len(result.value.json) - 2 for message in messages for result in message.run.results] == list(lengths)


@pytest.mark.parametrize("encoding", [runs_pb2.RESULT_ENCODING_JSON, runs_pb2.RESULT_ENCODING_VALUE])
async def test_a_single_result_too_large_for_a_message_is_an_error_of_its_item(
    serve: Serve, runtime: ScriptedRuntime, encoding: runs_pb2.ResultEncoding.ValueType
) -> None:
    _, client = await serve(GrpcLimits(send=10_000))
    run = await client.submit(inputs=4)
    await runtime.succeed(0)
    await runtime.succeed(1, '"' + "x" * 2**20 + '"')
    await runtime.fail(2, ItemError(code=-32100, message="y" * 20_000))
    await runtime.succeed(3, "3")
    messages = await read_all(client.get(run.run_id, include_results=True, result_encoding=encoding))
    first, second, third, fourth = (result for message in messages for result in message.run.results)
    assert (first.HasField("value"), fourth.HasField("value")) == (True, True)
    for result, status in ((second, runs_pb2.RUN_STATE_SUCCESS), (third, runs_pb2.RUN_STATE_FAILED)):
        assert (result.status, result.error.code) == (status, -32013)
        assert "10000 bytes" in result.error.message
        assert "runs/get" in result.error.message
    assert max(message.ByteSize() for message in messages) <= 10_000


async def test_a_result_too_large_as_a_value_comes_as_json(serve: Serve, runtime: ScriptedRuntime) -> None:
    _, client = await serve(GrpcLimits(send=10_000))
    run = await client.submit(inputs=1)
    value = "[" + ",".join(["1"] * 1_000) + "]"
    await runtime.succeed(0, value)
    request = {"include_results": True, "result_encoding": runs_pb2.RESULT_ENCODING_VALUE}
    (message,) = await read_all(client.get(run.run_id, **request))
    assert message.run.results[0].value.json == value


# Leaving


@pytest.mark.parametrize("after", [0, 1])
async def test_a_client_that_leaves_a_stream_leaves_nothing_behind(
    serve: Serve, runtime: ScriptedRuntime, after: int
) -> None:
    front, client = await serve()
    run = await client.submit()
    stream = client.get(run.run_id, wait=True)
    for _ in range(after):
        await stream.read()
    await runtime.watched(1)
    stream.cancel()
    await runtime.watched(0)
    await client.close()
    await front.stop(GRACE)
    await all_ended()


async def test_a_client_that_does_not_read_is_left_behind_and_let_go(serve: Serve, runtime: ScriptedRuntime) -> None:
    front, client = await serve()
    run = await client.submit(inputs=200)
    stream = client.get(run.run_id, wait=True, include_results=True)
    await runtime.watched(1)
    for index in range(200):
        await runtime.succeed(index, '"' + "x" * 100_000 + '"')
    stream.cancel()
    await runtime.watched(0)
    await client.close()
    await front.stop(GRACE)
    await all_ended()


async def test_a_client_that_leaves_a_submit_does_not_cancel_the_run(
    serve: Serve, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    _, client = await serve()
    submitting = asyncio.create_task(client.submit(inputs=1, wait=True))
    await runtime.watched(1)
    submitting.cancel()
    await runtime.watched(0)
    await runtime.succeed(0)
    messages = await read_all(client.get(runtime.run_ids[0], wait=True))
    assert messages[-1].run.status == runs_pb2.RUN_STATE_SUCCESS
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Blobs


async def test_blobs_come_back_as_they_were_stored(client: Client) -> None:
    for request in (
        blobs_pb2.PutBlobRequest(json=' {"b":1,"a":12345678901234567890} ', type=blobs_pb2.BLOB_TYPE_DATA),
        blobs_pb2.PutBlobRequest(binary=b"\x00\xff", type=blobs_pb2.BLOB_TYPE_DATA),
    ):
        blob_id = (await client.blobs.PutBlob(request)).blob_id
        assert re.fullmatch("sha256:[0-9a-f]{64}", blob_id)
        response = await client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=blob_id.removeprefix("sha256:")))
        assert (response.json, response.binary) == (request.json.strip(), request.binary)
        assert response.type == request.type


async def test_a_blob_too_large_to_send_is_refused(serve: Serve) -> None:
    _, client = await serve(GrpcLimits(send=10_000))
    blob_id = (await client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=b"x" * 10_000))).blob_id
    code, _, details = await failure(client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=blob_id)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details["ErrorInfo"].reason == "PAYLOAD_TOO_LARGE"


# Errors


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (runs_pb2.SubmitRunRequest(), ["flow_id"]),
        (runs_pb2.SubmitRunRequest(flow_id="flow"), ["flow_id"]),
        (runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, inputs=[runs_pb2.JsonValue()]), ["inputs[0]"]),
        (runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, inputs=[runs_pb2.JsonValue(json="NaN")]), ["inputs[0].json"]),
        (runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, max_concurrency=0), ["max_concurrency"]),
        (runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, idempotency_key="x" * 256), ["idempotency_key"]),
        (runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, timeout=Duration(seconds=-1)), ["timeout"]),
        (runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, result_encoding=UNKNOWN), ["result_encoding"]),
    ],
)
async def test_invalid_submits_name_the_field(
    client: Client, request_: runs_pb2.SubmitRunRequest, fields: list[str]
) -> None:
    code, _, details = await failure(client.runs.SubmitRun(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert violated(details) == fields
    assert details["ErrorInfo"].domain == "runs-gateway"


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (runs_pb2.GetRunRequest(), ["run_id"]),
        (runs_pb2.GetRunRequest(run_id="run", wait=True), ["run_id"]),
        (runs_pb2.GetRunRequest(run_id=MISSING_RUN, result_order=UNKNOWN), ["result_order"]),
        (runs_pb2.GetRunRequest(run_id=MISSING_RUN, timeout=Duration(seconds=-1)), ["timeout"]),
        (
            runs_pb2.GetRunRequest(run_id=MISSING_RUN, heartbeat_interval=Duration(nanos=99_999_999)),
            ["heartbeat_interval"],
        ),
    ],
)
async def test_invalid_gets_name_the_field(client: Client, request_: runs_pb2.GetRunRequest, fields: list[str]) -> None:
    code, _, details = await failure(client.runs.GetRun(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert violated(details) == fields


async def test_what_does_not_exist_is_not_found(client: Client) -> None:
    for call, reason in (
        (client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB)), "FLOW_NOT_FOUND"),
        (client.get(MISSING_RUN), "RUN_NOT_FOUND"),
        (client.get(MISSING_RUN, wait=True), "RUN_NOT_FOUND"),
        (client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=MISSING_BLOB)), "BLOB_NOT_FOUND"),
    ):
        code, _, details = await failure(call)
        assert code is grpc.StatusCode.NOT_FOUND
        assert details["ErrorInfo"].reason == reason


async def test_blob_requests_are_checked(client: Client) -> None:
    code, _, _ = await failure(client.blobs.PutBlob(blobs_pb2.PutBlobRequest()))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _, details = await failure(client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id="blob")))
    assert (code, violated(details)) == (grpc.StatusCode.INVALID_ARGUMENT, ["blob_id"])


async def test_thousands_of_violations_reach_the_client_as_an_error_it_can_read(client: Client) -> None:
    """Trailers above 8 KiB would be replaced by an error of the transport."""
    inputs = [runs_pb2.JsonValue(json="NaN é" * 50)] * 3000
    code, message, details = await failure(
        client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, inputs=inputs))
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "inputs[0]" in message
    assert details["ErrorInfo"].reason == "INVALID_PARAMS"


@pytest.mark.parametrize("length", [10, 2_000, 5_000, 20_000, 200_000])
@pytest.mark.parametrize("letter", ["x", "é", "\n"])
async def test_errors_of_any_length_reach_the_client(
    client: Client, service: RunsService, runtime: ScriptedRuntime, length: int, letter: str
) -> None:
    await runtime.break_down(RemoteError(-32099, letter * length, data='"' + "x" * length + '"'))
    code, message, details = await failure(client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=MISSING_BLOB)))
    assert code is grpc.StatusCode.UNKNOWN
    assert letter in message
    assert details["ErrorInfo"].reason == "REMOTE_ERROR"


async def test_defects_reach_the_client_as_an_id_alone(
    client: Client, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    run = await client.submit()
    stream = client.get(run.run_id, wait=True)
    await stream.read()
    await runtime.break_down(ValueError("the secret"))
    calls = [
        stream,
        client.get(run.run_id),
        client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB)),
        client.blobs.PutBlob(blobs_pb2.PutBlobRequest(json="1")),
        client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=MISSING_BLOB)),
    ]
    for call in calls:
        code, message, _ = await failure(call)
        assert code is grpc.StatusCode.INTERNAL
        found = re.fullmatch("internal error, id ([0-9a-f]{32})", message)
        assert found is not None
        assert found[1] in caplog.text
        assert "the secret" in caplog.text


async def test_an_oversized_request_is_refused(serve: Serve) -> None:
    _, client = await serve(GrpcLimits(receive=10_000))
    code, _, _ = await failure(client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=b"x" * 10_000)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=b"x"))).blob_id


@pytest.mark.parametrize(
    "method",
    [
        "runs.v1.RunsService/GetRun",
        "runs.v1.RunsService/WatchRuns",
        "runs.v1.BlobsService/GetBlob",
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
    ],
)
async def test_requests_that_need_not_be_long_must_not_be(client: Client, method: str) -> None:
    """A parser would hold the interpreter for as long as they have fields."""
    requests: Any = iter([b"\xa0\x06\x01" * 100_000])
    code, message, _ = await failure(client.channel.stream_stream(f"/{method}")(requests))
    assert (code, message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "a request of this method has at most 256 KiB")


@pytest.mark.parametrize("method", ["RunsService/SubmitRun", "BlobsService/PutBlob", "RunsService/SubmitRunStream"])
async def test_long_requests_with_many_fields_are_refused(client: Client, method: str) -> None:
    requests: Any = iter([b"\xa0\x06\x01" * 30_000])
    code, message, _ = await failure(client.channel.stream_unary(f"/runs.v1.{method}")(requests))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("the request has more than 10,000 fields")


async def test_rubbish_is_refused(client: Client) -> None:
    call: Any = client.channel.unary_unary("/runs.v1.RunsService/SubmitRun")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    missing: Any = client.channel.unary_unary("/runs.v1.RunsService/Nothing")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await missing(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# Limits


async def test_waiting_calls_are_bounded_and_keep_no_other_call_out(serve: Serve, runtime: ScriptedRuntime) -> None:
    _, client = await serve(GrpcLimits(calls=1, waits=2))
    run = await client.submit()
    streams = [client.get(run.run_id, wait=True) for _ in range(2)]
    for stream in streams:
        await stream.read()
    for refused in (
        client.get(run.run_id, wait=True),
        client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB, wait=True)),
    ):
        code, _, details = await failure(refused)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details["ErrorInfo"].reason == "OVERLOADED"
        assert details["RetryInfo"].retry_delay.seconds == 1
    assert len(await read_all(client.get(run.run_id))) == 1
    for stream in streams:
        stream.cancel()
    await runtime.watched(0)
    again = client.get(run.run_id, wait=True)
    assert (await again.read()).run.run_id == run.run_id


async def test_short_calls_are_bounded(serve: Serve, runtime: ScriptedRuntime) -> None:
    _, client = await serve(GrpcLimits(calls=0))
    for refused in (
        client.get(MISSING_RUN),
        client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB)),
        client.blobs.PutBlob(blobs_pb2.PutBlobRequest(json="1")),
        client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=MISSING_BLOB)),
    ):
        code, _, details = await failure(refused)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details["RetryInfo"].retry_delay.seconds == 1


async def test_many_streams_opened_at_once_are_all_served(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit(inputs=1)
    streams = [client.get(run.run_id, wait=True) for _ in range(1_500)]
    await asyncio.gather(*(stream.read() for stream in streams))
    await runtime.succeed(0)
    lasts = await asyncio.gather(*(stream.read() for stream in streams))
    assert {last.run.status for last in lasts} == {runs_pb2.RUN_STATE_SUCCESS}


# Life of the server


async def test_a_drain_ends_waiting_calls_with_a_hint_to_retry(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit()
    stream = client.get(run.run_id, wait=True)
    await stream.read()
    submitting = asyncio.create_task(client.submit(wait=True))
    await runtime.watched(2)
    await runtime.drain()
    for call in (stream, submitting):
        code, _, details = await failure(call)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert details["RetryInfo"].retry_delay.seconds == 1
    assert len(await read_all(client.get(run.run_id))) == 1


async def test_health_is_told_per_service_and_turns_at_the_drain(serve: Serve) -> None:
    front, client = await serve()
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    watch = client.health.Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))
    assert (await watch.read()).status == serving
    for name in ("", *SERVICES):
        assert (await client.health.Check(health_pb2.HealthCheckRequest(service=name))).status == serving
    await front.drain()
    assert (await watch.read()).status == not_serving
    for name in ("", *SERVICES):
        assert (await client.health.Check(health_pb2.HealthCheckRequest(service=name))).status == not_serving
    code, _, _ = await failure(client.health.Check(health_pb2.HealthCheckRequest(service="other")))
    assert code is grpc.StatusCode.NOT_FOUND
    await front.stop(600)
    code, _, _ = await failure(watch)
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_health_is_told_of_all_services(serve: Serve) -> None:
    front, client = await serve()

    async def listed() -> dict[str, Any]:
        # Older packages do not have the messages: it is a map from names to HealthCheckResponses.
        method: Any = client.channel.unary_unary("/grpc.health.v1.Health/List")
        data, place, found = await method(b""), 0, {}
        while place < len(data):
            entry = field_at(data, place, len(data))
            name = field_at(data, entry.start, entry.stop)
            status = field_at(data, name.stop, entry.stop)
            assert (entry.number, name.number, status.number) == (1, 1, 2)
            response = health_pb2.HealthCheckResponse.FromString(data[status.start : status.stop])
            found[data[name.start : name.stop].decode()] = response.status
            place = entry.stop
        return found

    assert await listed() == dict.fromkeys(("", *SERVICES), health_pb2.HealthCheckResponse.SERVING)
    await front.drain()
    assert await listed() == dict.fromkeys(("", *SERVICES), health_pb2.HealthCheckResponse.NOT_SERVING)


async def test_a_graceful_stop_lets_a_call_finish(serve: Serve, runtime: ScriptedRuntime) -> None:
    front, client = await serve()
    submitting = asyncio.create_task(client.submit(inputs=1, wait=True))
    await runtime.watched(1)
    stopping = asyncio.create_task(front.stop(600))
    await asyncio.sleep(0)
    await runtime.succeed(0)
    assert (await submitting).status == runs_pb2.RUN_STATE_SUCCESS
    await stopping


async def test_a_stop_cancels_calls_that_do_not_finish(serve: Serve, runtime: ScriptedRuntime) -> None:
    front, client = await serve()
    run = await client.submit()
    stream = client.get(run.run_id, wait=True)
    await stream.read()
    await front.stop(0)
    await runtime.watched(0)
    with pytest.raises(grpc.aio.AioRpcError):
        await stream.read()


async def test_an_address_in_use_is_an_os_error(serve: Serve, service: RunsService) -> None:
    front, _ = await serve()
    second = GrpcFront(RunsServices(service), front.address)
    with pytest.raises(OSError, match=re.escape(front.address)):
        await second.start()
    await second.stop(0)


async def test_it_listens_on_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/gateway.sock"
    front, client = await serve(address=address)
    assert front.address == address
    assert await client.put_flow()
