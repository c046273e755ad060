"""What answers over HTTP may cost: memory for clients that read, read slowly, or do not read."""

import asyncio
import json
import re
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from gateway.adapter import jsonrpc
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.caller import ANYBODY
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.long_texts import LongText
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.fronts.http.rpc_method import Origin
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.full_runtime import RUN_ID, FullRuntime
from tests.support.http_front import RunningFront, call, head, post, running_front
from tests.support.scripted_runtime import MISSING_BLOB

MIB = 1 << 20
SOON = 0.1
FEW_BYTES = 4_096
GET_BLOB = {"blobId": MISSING_BLOB}
GET_RESULTS = {"runId": RUN_ID, "includeResults": True}
FOLLOW = {**GET_RESULTS, "wait": True}
STREAM = "Accept: text/event-stream"


class Peak:
    """How much memory was allocated at most, in bytes, since the block was entered."""

    size = 0


@contextmanager
def peak_of_memory() -> Iterator[Peak]:
    peak = Peak()
    tracemalloc.start()
    try:
        yield peak
        peak.size = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@asynccontextmanager
async def serving(
    runtime: FullRuntime, account: MemoryAccount | None = None, **limits: float
) -> AsyncIterator[RunningFront]:
    """A front that must hold nothing when its clients have left."""
    async with running_front(HttpLimits(**limits), account, runtime) as front:  # type: ignore[arg-type]
        yield front
        for connection in front.connections:
            connection.reset()
        await front.service.close()
        await front.holding(0)


def batch(number: int) -> bytes:
    calls = [{"jsonrpc": "2.0", "id": index, "method": "blobs/get", "params": GET_BLOB} for index in range(number)]
    return post(json.dumps(calls).encode())


# Batches


async def test_a_batch_gets_as_many_answers_as_find_room() -> None:
    account = MemoryAccount(32 * MIB)
    runtime = FullRuntime(blob_size=MIB)
    async with serving(runtime, account) as front:
        connection = await front.connect()
        with peak_of_memory() as peak:
            assert (await connection.send(batch(1_000)).head())[0] == 200
            body = b"".join([chunk async for chunk in connection.chunks()])
        answers = json.loads(body)
    assert [answer["id"] for answer in answers] == list(range(1_000))
    found = [answer for answer in answers if "result" in answer]
    refused = [answer["error"] for answer in answers if "error" in answer]
    assert 5 <= len(found) <= 32
    assert {len(answer["result"]["data"]) for answer in found} == {MIB - 2}
    assert {(error["code"], error["data"]["retryAfterSecs"]) for error in refused} == {(-32014, 1.0)}
    assert runtime.blobs_read < 64, "what finds no room is not read"
    assert peak.size < 3 * 32 * MIB


async def test_the_answers_to_one_batch_are_bounded_however_much_memory_there_is() -> None:
    runtime = FullRuntime(blob_size=60 * MIB)
    account = MemoryAccount(1 << 40)
    service = RunsService(runtime, account=account)
    methods = JsonRpcMethods(RunsServices(service), account.share())
    with account.share().hold() as held:
        calls = await methods.read(batch(20).partition(b"\r\n\r\n")[2])
        answer = await methods.answer(calls, held, Origin(ANYBODY))
        assert isinstance(answer, LongText)
        pieces = [piece async for piece in answer.pieces() if len(piece) < MIB]
    await service.close()
    assert runtime.blobs_read in range(2, 5), "what finds no room is not read"
    codes = Counter(re.findall(r'"code":(-\d+)', "".join(pieces)))
    assert codes == {"-32013": 20 - runtime.blobs_read}
    assert account.held == 0


async def test_the_answers_to_a_component_find_room_or_are_refused() -> None:
    account = MemoryAccount(32 * MIB)
    service = RunsService(FullRuntime(blob_size=3 * MIB), account=account)
    methods = JsonRpcMethods(RunsServices(service), account.share())
    answers = json.loads(await methods.call(batch(20).partition(b"\r\n\r\n")[2]) or b"")
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes.count(None) in range(1, 5)
    assert set(codes) == {None, -32014}
    single = jsonrpc.request("1", "blobs/get", json.dumps(GET_BLOB)).encode()
    assert "result" in json.loads(await methods.call(single) or b"")
    with account.share().hold(13 * MIB), account.share().hold(7 * MIB):
        answer = json.loads(await methods.call(single) or b"")
    assert (answer["id"], answer["error"]["code"]) == (1, -32014)
    await service.close()
    assert account.held == 0


# Results


@pytest.mark.parametrize(("items", "size"), [(5_000, 10), (8, 6 * MIB)])
async def test_results_are_held_a_page_at_a_time(items: int, size: int) -> None:
    async with serving(FullRuntime(items, size)) as front:
        connection = await front.connect()
        read = count = 0
        with peak_of_memory() as peak:
            assert (await connection.send(call("runs/get", GET_RESULTS)).head())[0] == 200
            async for chunk in connection.chunks():
                read += len(chunk)
                count += chunk.count(b'"itemIndex"')
    assert read > 2 * items * size
    assert count in range(items - 20, items + 1), "a name may be torn apart by chunks"
    assert peak.size < 3 * size + 8 * MIB


async def test_results_that_find_no_room_are_refused_before_they_are_sent() -> None:
    account = MemoryAccount(8 * MIB)
    async with serving(FullRuntime(8, 6 * MIB), account) as front:
        connection = await front.connect()
        answer = await connection.send(call("runs/get", GET_RESULTS)).answer()
        assert answer.json()["error"]["code"] == -32014
        answer = await connection.send(call("runs/get", FOLLOW, STREAM)).answer()
        assert answer.json()["error"]["code"] == -32014
        assert answer.json()["error"]["data"]["retryAfterSecs"] == 1.0


async def test_an_answer_that_cannot_go_on_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(FullRuntime(8, MIB, broken_at=3)) as front:
        connection = await front.connect()
        assert (await connection.send(call("runs/get", GET_RESULTS)).head())[0] == 200
        with pytest.raises(asyncio.IncompleteReadError):
            async for _ in connection.chunks():
                pass
        old = await front.connect()
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": GET_RESULTS}).encode()
        assert (await old.send(head("/", f"Content-Length: {len(body)}", version="1.0") + body).head())[0] == 200
        with pytest.raises(ConnectionResetError):
            await old.reader.read()
    assert "the disk is gone" in caplog.text


async def test_a_call_of_a_batch_that_cannot_be_completed_fails_alone() -> None:
    async with serving(FullRuntime(8, MIB, broken_at=3)) as front:
        calls = [
            {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": GET_RESULTS},
            {"jsonrpc": "2.0", "id": 2, "method": "runs/get", "params": {"runId": RUN_ID}},
        ]
        answer = await (await front.connect()).send(post(json.dumps(calls).encode())).answer()
    assert [member.get("error", {}).get("code") for member in answer.json()] == [-32603, None]


# Clients that do not read


async def test_what_clients_do_not_read_is_bounded() -> None:
    account = MemoryAccount(64 * MIB)
    async with serving(FullRuntime(blob_size=8 * MIB), account) as front:
        with peak_of_memory() as peak:
            statuses = []
            for path in (f"/api/v1/blobs/{MISSING_BLOB}", "/") * 15:
                connection = await front.connect(FEW_BYTES)
                get = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                status, headers = await connection.send(get if path != "/" else call("blobs/get", GET_BLOB)).head()
                statuses.append(status)
                assert account.held <= account.limit
                if status == 429:
                    assert headers["retry-after"] == "1"
                elif path == "/" and headers["content-length"] < str(MIB):
                    refusal = json.loads(await connection.reader.readexactly(int(headers["content-length"])))
                    statuses[-1] = -refusal["error"]["code"]
        assert {200, 429, 32014} >= set(statuses) > {429}
        assert peak.size < 2 * account.limit
        assert (await (await front.connect()).send(post()).answer()).status == 200, "small requests always pass"


SHORT_ANSWER = post(b"[%b]" % b",".join([b'{"jsonrpc":"2.0","id":1}'] * 400))
"""A batch of malformed calls: its answer has 50 KB."""

ANSWERS = {
    "blob": call("blobs/get", GET_BLOB),
    "binary blob": f"GET /api/v1/blobs/{MISSING_BLOB} HTTP/1.1\r\nHost: localhost\r\n"
    "Accept: application/octet-stream\r\n\r\n".encode(),
    "results": call("runs/get", GET_RESULTS),
    "batch": batch(2),
    "stream": call("runs/get", FOLLOW, STREAM),
    "short answers, one after the other": SHORT_ANSWER * 300,
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_a_client_that_does_not_read_is_dropped(kind: str) -> None:
    async with serving(FullRuntime(1_000, 10_000, blob_size=8 * MIB), unread_seconds=SOON) as front:
        connection = await front.connect(FEW_BYTES)
        connection.send(ANSWERS[kind])
        await connection.head()
        while front.open_connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await front.service.close()
        await front.holding(0)


async def test_streams_that_are_not_read_hold_no_page() -> None:
    streams = 20
    async with serving(FullRuntime(1_000, 10_000)) as front:
        with peak_of_memory() as peak:
            for _ in range(streams):
                connection = await front.connect(FEW_BYTES)
                assert (await connection.send(call("runs/get", FOLLOW, STREAM)).head())[0] == 200
            while sum(each.writing_paused for each in front.open_connections) < streams:  # noqa: ASYNC110
                await asyncio.sleep(0)
        # The pages that followers share are kept for those that come later.
        shared = 32 * MIB
        assert peak.size < shared + streams * 400_000
        await front.holding(1, shared + streams * 200_000)
        body = b"".join([chunk async for chunk in connection.chunks()])
        *events, response = [json.loads(event.rpartition(b"data: ")[2]) for event in body.split(b"\n\n")[:-1]]
        sent = [result["itemIndex"] for event in events for result in event["params"]["results"]]
        assert sent == [result["itemIndex"] for result in response["result"]["results"]] == list(range(1_000))


# Clients that have read


@pytest.mark.parametrize("size", [60_000, 2 * MIB])
async def test_an_idle_connection_holds_no_answer(size: int) -> None:
    clients = 30
    async with serving(FullRuntime(blob_size=size)) as front:
        tracemalloc.start()
        try:
            for _ in range(clients):
                connection = await front.connect()
                assert len((await connection.send(call("blobs/get", GET_BLOB)).answer()).body) > size
            assert tracemalloc.get_traced_memory()[0] < clients * 40_000
        finally:
            tracemalloc.stop()
