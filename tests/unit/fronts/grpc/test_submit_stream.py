import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from gateway.fronts.grpc import GrpcLimits
from gateway.fronts.grpc.submit_stream import INPUT_BYTES
from runs.v1 import runs_pb2
from tests.support.grpc_calls import Client, Serve, failure, read_all, violated
from tests.support.scripted_runtime import MISSING_BLOB, ScriptedRuntime
from tests.support.tasks import all_ended

Part = runs_pb2.SubmitRunStreamRequest


def values(numbers: Iterable[int]) -> list[runs_pb2.JsonValue]:
    return [runs_pb2.JsonValue(json=str(number)) for number in numbers]


def first(flow_id: str, inputs: Iterable[int] = (), more: Iterable[int] = (), **fields: Any) -> Part:
    parameters = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=values(inputs), **fields)
    return Part(parameters=parameters, inputs=values(more))


async def upload(client: Client, *parts: Part) -> runs_pb2.SubmitRunResponse:
    async def requests() -> AsyncIterator[Part]:
        for part in parts:
            yield part

    response: runs_pb2.SubmitRunResponse = await client.runs.SubmitRunStream(requests())
    return response


async def opened(client: Client, *parts: Part) -> Any:
    """An upload that goes on."""
    call: Any = client.runs.SubmitRunStream()
    for part in parts:
        await call.write(part)
    return call


async def test_inputs_of_all_messages_make_one_run(client: Client, runtime: ScriptedRuntime) -> None:
    flow_id = await client.put_flow()
    parts = [first(flow_id, range(3), range(3, 5), flow_label="nightly"), Part(), Part(inputs=values(range(5, 9)))]
    run = (await upload(client, *parts)).run
    assert (run.items.total, run.status, run.flow_label) == (9, runs_pb2.RUN_STATE_PENDING, "nightly")
    assert runtime.params(run.run_id).inputs == [str(number) for number in range(9)]


async def test_it_answers_as_submit_does(client: Client, runtime: ScriptedRuntime) -> None:
    flow_id = await client.put_flow()
    request = first(flow_id, range(2), idempotency_key="key", wait=True, result_encoding=runs_pb2.RESULT_ENCODING_VALUE)
    uploading = asyncio.create_task(upload(client, request))
    await runtime.watched(1)
    for index in range(2):
        await runtime.succeed(index, str(index))
    response = await uploading
    assert [result.value.value.number_value for result in response.run.results] == [0.0, 1.0]
    assert await client.runs.SubmitRun(request.parameters) == response


async def test_nothing_starts_before_the_client_has_finished(client: Client, runtime: ScriptedRuntime) -> None:
    flow_id = await client.put_flow()
    call = await opened(client, first(flow_id, range(2)), Part(inputs=values(range(2))))
    await client.put_flow()
    assert runtime.run_ids == []
    await call.done_writing()
    assert (await call).run.run_id == runtime.run_ids[0]


@pytest.mark.parametrize("after", range(4))
async def test_an_upload_that_is_aborted_leaves_nothing_behind(
    serve: Serve, runtime: ScriptedRuntime, after: int
) -> None:
    front, client = await serve(GrpcLimits(upload=3_000))
    flow_id = await client.put_flow()
    parts = [first(flow_id, range(10)), *[Part(inputs=values(range(10))) for _ in range(3)]]
    for _ in range(30):
        call = await opened(client, *parts[:after])
        call.cancel()
    # All the room is there again, as soon as the server has heard of it.
    response = None
    while response is None:
        with suppress(grpc.aio.AioRpcError):
            response = await upload(client, *parts)
    assert (response.run.items.total, len(runtime.run_ids)) == (40, 1)
    await client.close()
    await front.stop(600)
    await all_ended()


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([], "parameters"),
        ([Part(inputs=values([1]))], "parameters"),
        ([first(MISSING_BLOB), first(MISSING_BLOB)], "parameters"),
        ([first("flow")], "flow_id"),
        ([first(MISSING_BLOB, max_concurrency=0)], "max_concurrency"),
        ([first(MISSING_BLOB, result_encoding=77)], "result_encoding"),
        ([first(MISSING_BLOB, [1]), Part(inputs=[*values([1]), runs_pb2.JsonValue(json="NaN")])], "inputs[2].json"),
        ([first(MISSING_BLOB, [1], [1]), Part(inputs=[runs_pb2.JsonValue()])], "inputs[2]"),
    ],
)
async def test_invalid_parts_name_the_field(client: Client, parts: list[Part], field: str) -> None:
    code, _, found = await failure(upload(client, *parts))
    assert (code, violated(found)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_what_is_invalid_ends_the_upload_at_once(client: Client) -> None:
    call = await opened(client, first(MISSING_BLOB, max_concurrency=0))
    assert violated((await failure(call))[2]) == ["max_concurrency"]


async def test_a_missing_flow_is_not_found(client: Client) -> None:
    code, _, found = await failure(upload(client, first(MISSING_BLOB, [1])))
    assert (code, found["ErrorInfo"].reason) == (grpc.StatusCode.NOT_FOUND, "FLOW_NOT_FOUND")


async def test_inputs_are_bounded_in_number_and_size(serve: Serve, runtime: ScriptedRuntime) -> None:
    _, client = await serve(GrpcLimits(inputs=10, upload=10 * INPUT_BYTES + 2_000))
    flow_id = await client.put_flow()
    code, _, found = await failure(upload(client, first(flow_id, range(5)), Part(inputs=values(range(6)))))
    assert (code, violated(found)) == (grpc.StatusCode.INVALID_ARGUMENT, ["inputs"])
    large = Part(inputs=[runs_pb2.JsonValue(json='"' + "x" * 1_300 + '"')])
    code, _, found = await failure(upload(client, first(flow_id), large, large))
    assert (code, found["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE")
    assert runtime.run_ids == []
    assert (await upload(client, first(flow_id, range(5)), large)).run.items.total == 6


async def test_many_inputs_keep_nobody_waiting(client: Client, runtime: ScriptedRuntime) -> None:
    """While the inputs of a message are read, other calls are answered."""
    flow_id = await client.put_flow()
    inputs = [runs_pb2.JsonValue(json=f'{{"number":{number}}}') for number in range(50_000)]
    uploading = asyncio.create_task(upload(client, first(flow_id), Part(inputs=inputs)))
    answered = 0
    while not uploading.done():
        await client.put_flow()
        answered += 1
    run = (await uploading).run
    assert run.items.total == 50_000
    assert runtime.params(run.run_id).inputs[-1] == '{"number":49999}'
    assert answered > 1


async def test_results_that_do_not_fit_are_left_out(serve: Serve, runtime: ScriptedRuntime) -> None:
    _, client = await serve(GrpcLimits(send=10_000))
    uploading = asyncio.create_task(upload(client, first(await client.put_flow(), [1], wait=True)))
    await runtime.watched(1)
    await runtime.succeed(0, '"' + "x" * 20_000 + '"')
    response = await uploading
    assert (response.results_omitted, len(response.run.results)) == (True, 0)
    messages = await read_all(client.get(response.run.run_id, include_results=True))
    assert [result.error.code for message in messages for result in message.run.results] == [-32013]
