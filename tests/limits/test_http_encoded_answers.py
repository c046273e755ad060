"""Answers in gzip or zstd: for whom, how large, and in which slices."""

import importlib
import json
import random
import sys
import zlib
from collections.abc import AsyncGenerator

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.http.compressing import MIN_BYTES, coding_of_answer, compressed
from tests.support.http_front import Answer, RunningFront, call, head, post, running_front

zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

VALUES = {"short": "x", "whole": "x" * (MIN_BYTES + 1), "long": "é,\n" * 100_000}


def get(blob_id: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET /api/v1/blobs/{blob_id} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


async def stored(front: RunningFront, content: str) -> str:
    blob_id: str = (await front.ask("blobs/put", {"data": content, "blobType": "data"}))["blobId"]
    return blob_id


async def answered(front: RunningFront, request: bytes) -> Answer:
    """An answer of any length, in chunks or not."""
    connection = await front.connect()
    connection.send(request)
    status, headers = await connection.head()
    if "content-length" in headers:
        body = await connection.reader.readexactly(int(headers["content-length"]))
    else:
        body = b""
        while size := int(await connection.reader.readline(), 16):
            body += await connection.reader.readexactly(size)
            await connection.reader.readline()
        await connection.reader.readline()
    await connection.close()
    await front.holding(0)
    return Answer(status, headers, body)


def decoded(answer: Answer) -> bytes:
    coding = answer.headers.get("content-encoding")
    if coding is None:
        return answer.body
    content: bytes = zlib.decompress(answer.body, 31) if coding == "gzip" else zstd.decompress(answer.body)
    return content


@pytest.mark.parametrize("accept", [None, "gzip", "zstd", "identity", "br"])
@pytest.mark.parametrize("length", VALUES)
async def test_long_answers_are_encoded_as_the_client_asks(length: str, accept: str | None) -> None:
    value = VALUES[length]
    asks = [] if accept is None else [f"Accept-Encoding: {accept}"]
    async with running_front() as front:
        blob_id = await stored(front, value)
        requests = [
            call("blobs/get", {"blobId": blob_id}, *asks),
            get(blob_id, *asks),
            get(blob_id, "Accept: application/octet-stream", *asks),
        ]
        wanted = accept if length != "short" and accept in ("gzip", "zstd") else None
        for request in requests:
            answer = await answered(front, request)
            assert answer.headers.get("content-encoding") == wanted
            assert ("vary" in answer.headers) or length == "short" or not wanted
            assert value in json.dumps(json.loads(decoded(answer)), ensure_ascii=False).replace("\\n", "\n")
            assert wanted is None or len(answer.body) < len(value.encode()) / 10


async def test_batches_are_encoded() -> None:
    async with running_front() as front:
        blob_id = await stored(front, "x" * 10_000)
        one = {"jsonrpc": "2.0", "method": "blobs/get", "params": {"blobId": blob_id}}
        batch = json.dumps([{**one, "id": number} for number in range(20)]).encode()
        answer = await answered(front, post(batch, "/", "Accept-Encoding: gzip"))
        assert answer.headers["content-encoding"] == "gzip"
        assert [member["id"] for member in json.loads(decoded(answer))] == list(range(20))


async def test_event_streams_and_errors_are_sent_as_they_are() -> None:
    async with running_front() as front:
        refused = await answered(front, head("/none", "Content-Length: 0", "Accept-Encoding: gzip"))
        assert (refused.status, refused.headers.get("content-encoding")) == (404, None)
        run_id = await front.submit()
        connection = await front.connect()
        asks = ("Accept: text/event-stream", "Accept-Encoding: gzip")
        connection.send(call("runs/get", {"runId": run_id, "wait": True}, *asks))
        status, headers = await connection.head()
        assert (status, headers.get("content-encoding")) == (200, None)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP;Q=0.5, zstd;q=0.2", "gzip"),
        ("zstd;q=0, gzip;q=0", None),
        ("*", "gzip"),
        ("*;q=0", None),
        ("gzip;q=0, *", None),
        ("identity;q=0, *", "gzip"),
        ("identity;q=0, zstd", "zstd"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0", None),
        ("gzip;q=nonsense", None),
        (",;=,gzip", "gzip"),
        ("", None),
    ],
)
def test_ranks_count(accept: str, coding: str | None) -> None:
    found = coding_of_answer(make_mocked_request("POST", "/", {"Accept-Encoding": accept}).headers)
    assert (None if found is None else found.name) == coding


@pytest.mark.parametrize("name", ["gzip", "zstd"])
async def test_encoding_passes_the_queue_for_each_small_slice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fair_queue = FairQueue()
    turns = 0
    yield_turn = fair_queue.yield_turn

    async def counted() -> None:
        nonlocal turns
        turns += 1
        await yield_turn()

    monkeypatch.setattr(fair_queue, "yield_turn", counted)
    content = random.Random(1).randbytes(1 << 20)

    async def parts() -> AsyncGenerator[bytes, None]:
        yield content[: 1 << 19]
        yield content[1 << 19 :]

    coding = coding_of_answer(make_mocked_request("POST", "/", {"Accept-Encoding": name}).headers)
    assert coding is not None
    pieces = [piece async for piece in compressed(parts(), coding, fair_queue)]
    assert turns == len(content) // (32 << 10)
    body = b"".join(pieces)
    assert (zlib.decompress(body, 31) if name == "gzip" else zstd.decompress(body)) == content
    assert max(map(len, pieces)) < 300_000


async def test_without_memory_for_it_an_answer_is_sent_as_it_is() -> None:
    account = MemoryAccount(1 << 20)
    async with running_front(account=account) as front:
        blob_id = await stored(front, "x" * 40_000)
        answer = await answered(front, get(blob_id, "Accept-Encoding: zstd"))
        assert (answer.status, answer.headers.get("content-encoding")) == (200, None)
        answer = await answered(front, get(blob_id, "Accept-Encoding: gzip"))
        assert (answer.status, answer.headers.get("content-encoding")) == (200, "gzip")
