"""Long messages are read as protobuf reads them, and written so that protobuf reads what was to be written."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.adapter import long_messages
from gateway.adapter.blobs_proto import blob_from_put_request
from gateway.adapter.long_messages import read_long_blob, read_long_part, read_long_submit
from gateway.adapter.params_proto import submit_params_from_proto
from gateway.core.errors import InvalidParams, InvalidRequest
from gateway.core.model import Blob
from gateway.core.packed_texts import PackedTexts
from runs.v1 import blobs_pb2, runs_pb2

TEXTS = [
    "1",
    ' "é😀" ',
    "[1, [2]]",
    "1,2",
    '"x',
    'y"',
    "[1",
    "2]",
    "",
    '{"a":' + '"x"' * 1 + "}",
    '"' + "é" * 200 + '"',
]
VALUES = st.sampled_from(TEXTS[:3] + TEXTS[9:]) | st.sampled_from(TEXTS)
LIMITS = st.sampled_from([(64 << 10, 4 << 10), (50, 10), (1, 1), (300, 20)])
"""What is long, and how much is read at once."""


async def checkpoint() -> None:
    pass


def json_value(text: str) -> runs_pb2.JsonValue:
    value = runs_pb2.JsonValue(json=text)
    if text == "2]":
        value.value.string_value = "in protobuf's own form"
    return value


@st.composite
def submits(draw: st.DrawFn) -> runs_pb2.SubmitRunRequest:
    request = runs_pb2.SubmitRunRequest(flow_id=draw(st.sampled_from(["f" * 64, ""])), wait=draw(st.booleans()))
    request.inputs.extend(map(json_value, draw(st.lists(VALUES, max_size=12))))
    if draw(st.booleans()):
        request.variables["v"].json = draw(st.sampled_from(TEXTS[:4]))
        request.max_concurrency = draw(st.integers(0, 2**32 - 1))
        request.timeout.seconds = 3
    return request


async def outcome(awaitable: Any) -> Any:
    try:
        return await awaitable
    except (InvalidParams, InvalidRequest, DecodeError) as error:
        return type(error) if isinstance(error, DecodeError) else str(error)


async def read_at_once(data: bytes) -> Any:
    return submit_params_from_proto(runs_pb2.SubmitRunRequest.FromString(data))


async def read_long(data: bytes) -> Any:
    params, _ = await read_long_submit(data, checkpoint)
    return replace(params, inputs=list(params.inputs))


@given(submits(), LIMITS)
async def test_a_submit_is_read_as_at_once(request: runs_pb2.SubmitRunRequest, limits: tuple[int, int]) -> None:
    data = request.SerializeToString()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_messages, "LONG_TEXT", limits[0])
        patch.setattr(long_messages, "_AT_ONCE", limits[1])
        assert_same(await outcome(read_long(data)), await outcome(read_at_once(data)))


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, str):
        # Inputs are read before the rest, so it may be another mistake of the request that is told.
        assert isinstance(found, str)
    else:
        assert found == expected


@given(submits(), st.lists(VALUES, max_size=5), LIMITS)
async def test_a_part_of_a_submit_is_read_as_at_once(
    request: runs_pb2.SubmitRunRequest, texts: list[str], limits: tuple[int, int]
) -> None:
    part = runs_pb2.SubmitRunStreamRequest(parameters=request, inputs=map(json_value, texts))
    whole = runs_pb2.SubmitRunRequest(flow_id="f", inputs=[*request.inputs, *part.inputs])
    expected = await outcome(read_at_once(whole.SerializeToString()))
    inputs = PackedTexts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_messages, "LONG_TEXT", limits[0])
        patch.setattr(long_messages, "_AT_ONCE", limits[1])
        left = await outcome(read_long_part(part.SerializeToString(), inputs, checkpoint))
    if isinstance(expected, str):
        assert left == expected
    else:
        request.ClearField("inputs")
        assert left == runs_pb2.SubmitRunStreamRequest(parameters=request)
        assert inputs == expected.inputs


@given(submits(), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=3))
async def test_malformed_messages_are_refused(
    request: runs_pb2.SubmitRunRequest, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(request.SerializeToString() or b"\0")
    for place, byte in changes:
        data[place % len(data)] = byte
    found, expected = await outcome(read_long(bytes(data))), await outcome(read_at_once(bytes(data)))
    if expected is DecodeError:
        assert isinstance(found, str)
    elif not isinstance(found, str):
        assert found == expected


BLOBS = [
    blobs_pb2.PutBlobRequest(json=' "é😀" '),
    blobs_pb2.PutBlobRequest(json='{"output":1}', type=blobs_pb2.BLOB_TYPE_FLOW),
    blobs_pb2.PutBlobRequest(binary=b"\0\xff", type=blobs_pb2.BLOB_TYPE_DATA),
    blobs_pb2.PutBlobRequest(binary=b""),
    blobs_pb2.PutBlobRequest(binary=b"\0", type=blobs_pb2.BLOB_TYPE_FLOW),
    blobs_pb2.PutBlobRequest(json="no"),
    blobs_pb2.PutBlobRequest(),
    blobs_pb2.PutBlobRequest(json="1", type=99),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("request_", BLOBS)
async def test_a_blob_is_read_as_at_once(request_: blobs_pb2.PutBlobRequest) -> None:
    async def at_once() -> Blob:
        return blob_from_put_request(request_)

    data = request_.SerializeToString()
    assert await outcome(read_long_blob(data, checkpoint)) == await outcome(at_once())
    # Of two contents, the last one counts.
    first = blobs_pb2.PutBlobRequest(binary=b"1").SerializeToString()
    if request_.WhichOneof("content"):
        assert await outcome(read_long_blob(first + data, checkpoint)) == await outcome(at_once())


async def test_many_short_inputs_are_read_in_steps_and_packed() -> None:
    """No step parses more than a few KiB, and the texts are not held one by one."""
    steps = 0

    async def count() -> None:
        nonlocal steps
        steps += 1

    request = runs_pb2.SubmitRunRequest(flow_id="f")
    request.inputs.extend([runs_pb2.JsonValue(json="12")] * 100_000)
    data = request.SerializeToString()
    params, _ = await read_long_submit(data, count)
    assert isinstance(params.inputs, PackedTexts)
    assert params.inputs == ["12"] * 100_000
    assert params.inputs.size <= 1.3 * 3 * 100_000
    assert steps >= len(data) // (4 << 10)
