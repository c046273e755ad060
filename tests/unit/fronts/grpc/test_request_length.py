"""Requests that cannot be decoded are mistakes of their clients: on each method, at once or after valid ones."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.support.grpc_calls import Client, failure

UNARY = [
    "runs.v1.RunsService/SubmitRun",
    "runs.v1.RunsService/GetRun",
    "runs.v1.BlobsService/PutBlob",
    "runs.v1.BlobsService/GetBlob",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/Watch",
]
STREAMS = [
    "runs.v1.RunsService/WatchRuns",
    "runs.v1.RunsService/SubmitRunStream",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]
FIRST = {
    "WatchRuns": b"\x12\x01x",
    "SubmitRunStream": b"\x0a\x42\x0a\x40" + b"a" * 64,
    "ServerReflectionInfo": b"\x3a\x00",
}
"""A valid request of each stream."""

TRUNCATED = b"\x0a\xff\xff\x7f"
MALFORMED = [TRUNCATED, b"\xff" * 3, b"\xff" * 100_000, b"\x0a\x02\xff"]


async def refused(client: Client, method: str, *requests: bytes) -> None:
    async def sent() -> AsyncIterator[bytes]:
        for request in requests:
            yield request

    call: Any = client.channel.stream_stream(f"/{method}")
    code, message, details = await failure(call(sent()))
    assert (code, message) == (grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be decoded")
    assert details["ErrorInfo"].reason == "INVALID_REQUEST"


@pytest.mark.parametrize("method", UNARY + STREAMS)
async def test_a_request_that_cannot_be_decoded(client: Client, method: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for request in MALFORMED:
        await refused(client, method, request)
    assert caplog.text == ""


@pytest.mark.parametrize("method", STREAMS)
async def test_a_later_request_that_cannot_be_decoded(
    client: Client, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    first = FIRST[method.rpartition("/")[2]]
    for request in MALFORMED:
        await refused(client, method, first, request)
    assert caplog.text == ""
