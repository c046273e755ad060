"""Clients whose gRPC library receives 4 MiB, as it does unless told otherwise: no answer exceeds that unannounced."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc
from tests.support.grpc_calls import Client, failure, read_all
from tests.support.scripted_runtime import ScriptedRuntime

MIB = 1 << 20
RECEIVED = 4 * MIB
ENCODINGS = [runs_pb2.RESULT_ENCODING_JSON, runs_pb2.RESULT_ENCODING_VALUE]
WHAT_TO_SET = r"set max_response_message_bytes in the request, and .* \(grpc.max_receive_message_length\)"


class DefaultClient:
    """The stubs of a client that sets no options."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.runs = runs_pb2_grpc.RunsServiceStub(self.channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(self.channel)


@pytest.fixture
async def default(client: Client) -> AsyncIterator[DefaultClient]:
    default = DefaultClient(client.address)
    yield default
    await default.channel.close()


def text(length: int) -> str:
    return f'"{"x" * length}"'


async def submitted(
    client: Client | DefaultClient, runtime: ScriptedRuntime, request: runs_pb2.SubmitRunRequest, length: int, how: str
) -> runs_pb2.SubmitRunResponse:
    """The answer to a submit whose one result has this length."""
    if how == "SubmitRun":
        submitting = asyncio.ensure_future(client.runs.SubmitRun(request))
    else:
        uploading: Any = client.runs.SubmitRunStream(iter([runs_pb2.SubmitRunStreamRequest(parameters=request)]))
        submitting = asyncio.ensure_future(uploading)
    await runtime.watched(1)
    await runtime.succeed(0, text(length))
    return await submitting


@pytest.mark.parametrize("how", ["SubmitRun", "SubmitRunStream"])
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_results_that_a_client_would_not_receive_are_left_out(
    client: Client,
    default: DefaultClient,
    runtime: ScriptedRuntime,
    encoding: runs_pb2.ResultEncoding.ValueType,
    how: str,
) -> None:
    request = runs_pb2.SubmitRunRequest(
        flow_id=await client.put_flow(), inputs=[runs_pb2.JsonValue(json="1")], wait=True, result_encoding=encoding
    )
    fits = await submitted(default, runtime, request, RECEIVED - 1000, how)
    assert (fits.results_omitted, len(fits.run.results)) == (False, 1)
    rest = fits.ByteSize() - (RECEIVED - 1000)
    largest = await submitted(default, runtime, request, RECEIVED - rest, how)
    assert (largest.results_omitted, largest.ByteSize()) == (False, RECEIVED)
    too_large = await submitted(default, runtime, request, RECEIVED - rest + 1, how)
    assert (too_large.results_omitted, len(too_large.run.results)) == (True, 0)
    assert too_large.run.status == runs_pb2.RUN_STATE_SUCCESS
    request.max_response_message_bytes = 5 * MIB
    asked = await submitted(client, runtime, request, RECEIVED - rest + 1, how)
    assert (asked.results_omitted, len(asked.run.results)) == (False, 1)
    asked = await submitted(client, runtime, request, 5 * MIB, how)
    assert (asked.results_omitted, len(asked.run.results)) == (True, 0)


async def test_a_limit_below_that_of_the_libraries_is_theirs(
    client: Client, default: DefaultClient, runtime: ScriptedRuntime
) -> None:
    request = runs_pb2.SubmitRunRequest(
        flow_id=await client.put_flow(), inputs=[runs_pb2.JsonValue(json="1")], wait=True, max_response_message_bytes=1
    )
    assert len((await submitted(default, runtime, request, MIB, "SubmitRun")).run.results) == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_result_that_a_client_would_not_receive_ends_the_stream_which_goes_on_by_its_token(
    client: Client, default: DefaultClient, runtime: ScriptedRuntime, encoding: runs_pb2.ResultEncoding.ValueType
) -> None:
    run = await client.submit(inputs=3)
    for index, length in enumerate((10, 5 * MIB, 10)):
        await runtime.succeed(index, text(length))
    request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True, include_results=True, result_encoding=encoding)
    messages = []
    call: Any = default.runs.GetRun(request)
    while (message := await call.read()) is not grpc.aio.EOF:
        messages.append(message)
        if message.run.results:
            break
    code, text_of_error, details = await failure(call)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details["ErrorInfo"].reason == "PAYLOAD_TOO_LARGE"
    assert re.search(WHAT_TO_SET, text_of_error)
    request.resume_token = messages[-1].resume_token
    request.max_response_message_bytes = 6 * MIB
    messages += await read_all(client.runs.GetRun(request))
    assert [result.item_index for message in messages for result in message.run.results] == [0, 1, 2]


async def test_a_result_that_a_client_would_not_receive_leaves_other_runs_alone(
    client: Client, default: DefaultClient, runtime: ScriptedRuntime
) -> None:
    large, small = await client.submit(inputs=1), await client.submit(inputs=1)
    await runtime.succeed(0, text(5 * MIB), run_id=large.run_id)
    await runtime.succeed(0, text(10), run_id=small.run_id)
    call: Any = default.runs.WatchRuns()
    for run in (large, small):
        add = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True, include_results=True)
        await call.write(runs_pb2.WatchRunsRequest(add=add))
    await call.done_writing()
    events = await read_all(call)
    (refused,) = [event for event in events if event.run_id == large.run_id]
    assert refused.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert re.search(WHAT_TO_SET, refused.error.message)
    assert [event.WhichOneof("event") for event in events if event.run_id == small.run_id] == ["update", "ended"]


@pytest.mark.parametrize(
    "content", [{"json": text(5 * MIB)}, {"binary": bytes(5 * MIB)}, {"json": f'"{"é" * 2 * MIB}"'}]
)
async def test_a_blob_that_a_client_would_not_receive_is_refused(
    client: Client, default: DefaultClient, content: Any
) -> None:
    stored = await client.blobs.PutBlob(blobs_pb2.PutBlobRequest(**content))
    request = blobs_pb2.GetBlobRequest(blob_id=stored.blob_id)
    code, message, details = await failure(default.blobs.GetBlob(request))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE")
    assert re.search(WHAT_TO_SET, message)
    request.max_response_message_bytes = 6 * MIB
    response = await client.blobs.GetBlob(request)
    assert response == blobs_pb2.GetBlobResponse(**content, type=blobs_pb2.BLOB_TYPE_DATA)
