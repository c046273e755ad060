"""The messages of requests: in the query of a GET, in frames, compressed, malformed."""

import asyncio
import gzip
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
from yarl import URL

from gateway.fronts.grpc import GrpcLimits
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.web.frames import COMPRESSED, Frame, FrameReader, frame
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.scripted_runtime import FLOW, MISSING_BLOB
from tests.support.web_front import BLOBS, RUNS, STREAM, WebAnswer, WebServer, framed, web_server

WEB = {"Content-Type": "application/grpc-web+json"}
LIMIT = 100_000

Query = dict[str, str] | list[tuple[str, str]]


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with web_server(HttpLimits(body=LIMIT)) as server:
        yield server


# Reads by GET


async def test_a_read_is_called_by_get(server: WebServer) -> None:
    blob_id = await server.put_flow()
    message = json.dumps({"blobId": blob_id})
    plain = await server.get(f"{BLOBS}/GetBlob", connect="v1", encoding="json", message=message)
    assert plain.status == 200
    assert plain.json() == {"json": str(FLOW.content), "type": "BLOB_TYPE_FLOW"}
    assert plain.headers["Cache-Control"] == "no-store"
    for text in (urlsafe_b64encode(message.encode()).decode(), b64encode(message.encode()).decode().rstrip("=")):
        coded = await server.get(f"{BLOBS}/GetBlob", encoding="json", base64="1", message=text)
        assert coded.json() == plain.json()


async def test_a_message_in_a_query_may_be_compressed(server: WebServer) -> None:
    blob_id = await server.put_flow()
    data = gzip.compress(blobs_pb2.GetBlobRequest(blob_id=blob_id).SerializeToString())
    query = {"encoding": "proto", "base64": "1", "message": urlsafe_b64encode(data).decode()}
    answer = await server.get(f"{BLOBS}/GetBlob", compression="gzip", **query)
    assert answer.headers["Content-Type"] == "application/proto"
    assert blobs_pb2.GetBlobResponse.FromString(answer.body).json == FLOW.content
    refused = await server.get(f"{BLOBS}/GetBlob", compression="br", **query)
    assert (refused.status, refused.json()["code"]) == (501, "unimplemented")
    assert refused.json()["message"] == "expected compression gzip or zstd, or none"
    bomb = urlsafe_b64encode(gzip.compress(bytes(LIMIT + 1))).decode()
    large = await server.get(f"{BLOBS}/GetBlob", encoding="json", base64="1", compression="gzip", message=bomb)
    assert large.json()["code"] == "resource_exhausted"
    cut = urlsafe_b64encode(data[:-9]).decode()
    broken = await server.get(f"{BLOBS}/GetBlob", encoding="proto", base64="1", compression="gzip", message=cut)
    assert broken.json()["code"] == "invalid_argument"


@pytest.mark.parametrize(
    ("path", "message"), [("ListRuns", "{}"), ("ListItems", '{"runId":"00000000-0000-4000-8000-000000000000"}')]
)
async def test_the_other_reads_are_too(server: WebServer, path: str, message: str) -> None:
    answer = await server.get(f"{RUNS}/{path}", encoding="json", message=message)
    posted = await server.call(f"{RUNS}/{path}", json.loads(message))
    assert (answer.status, answer.json().get("code")) == (posted.status, posted.json().get("code"))
    assert answer.status != 405


async def test_an_error_of_a_get_is_told(server: WebServer) -> None:
    message = json.dumps({"blobId": MISSING_BLOB})
    answer = await server.get(f"{BLOBS}/GetBlob", encoding="json", message=message)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"message": "{}"},
        {"encoding": "xml", "message": "{}"},
        {"encoding": "json"},
        {"encoding": "json", "message": "{"},
        {"encoding": "json", "message": "{}", "base64": "1"},
        {"encoding": "json", "message": "e30A*", "base64": "1"},
        {"encoding": "json", "message": "e", "base64": "1"},
        {"encoding": "json", "message": "{}", "base64": "2"},
        {"encoding": "json", "message": "{}", "base64": ""},
        {"encoding": "json", "message": "{}", "connect": "v2"},
        {"encoding": "proto", "message": "%FF"},
        [("encoding", "json"), ("message", "{}"), ("encoding", "json")],
        [("encoding", "json"), ("message", "{}"), ("message", "{}")],
        [("encoding", "json"), ("message", "{}"), ("base64", "0"), ("base64", "0")],
        [("encoding", "json"), ("message", "{}"), ("compression", ""), ("compression", "")],
        [("encoding", "json"), ("message", "{}"), ("connect", "v1"), ("connect", "v1")],
        {"encoding": "json", "message": "{}", "compression": "gzip"},
    ],
)
async def test_a_malformed_query_is_refused(server: WebServer, query: Query) -> None:
    async with server.session.get(server.url(f"{BLOBS}/GetBlob"), params=query) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "invalid_argument")


async def test_a_query_that_is_not_utf_8_is_refused(server: WebServer) -> None:
    asked = "?encoding=json&message=%7B%22filter%22:%7B%22flowLabel%22:%22"
    for label, status in (("%ff", 400), ("%ED%A0%80", 400), ("%C3%BF", 200)):
        url = URL(server.url(f"{RUNS}/ListRuns") + asked + label + "%22%7D%7D", encoded=True)
        async with server.session.get(url) as answer:
            assert answer.status == status


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_an_empty_message_is_compressed_by_nothing(server: WebServer, coding: str) -> None:
    plain = await server.post(f"{RUNS}/ListRuns", b"", Content_Type="application/proto")
    posted = await server.post(f"{RUNS}/ListRuns", b"", Content_Type="application/proto", Content_Encoding=coding)
    asked = await server.get(f"{RUNS}/ListRuns", encoding="proto", message="", compression=coding)
    assert [(answer.status, answer.body) for answer in (posted, asked)] == [(200, plain.body)] * 2
    empty = frame(b"", COMPRESSED)
    web = {"Content_Type": "application/grpc-web+proto", "Grpc_Encoding": coding}
    assert b"grpc-status: 0" in (await server.post(f"{RUNS}/ListRuns", empty, **web)).body
    stream = {"Content_Type": "application/connect+proto", "Connect_Content_Encoding": coding}
    told = (await server.post(f"{RUNS}/WatchRuns", empty, **stream)).messages()[-1]["error"]
    assert told["message"].startswith("action: ")
    other = await server.post(f"{RUNS}/ListRuns", b"", Content_Type="application/proto", Content_Encoding="br")
    assert other.json()["code"] == "unimplemented"


async def test_what_changes_something_is_not_called_by_get(server: WebServer) -> None:
    for path in (f"{RUNS}/SubmitRun", f"{BLOBS}/PutBlob", f"{RUNS}/GetRun", f"{RUNS}/CancelRun"):
        answer = await server.get(path, encoding="json", message="{}")
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    async with server.session.put(server.url(f"{BLOBS}/GetBlob"), data=b"{}") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST, GET")


# Frames


async def test_messages_of_a_stream_may_be_compressed(server: WebServer) -> None:
    run = await server.submit()
    request = json.dumps({"runId": run["runId"]}).encode()
    body = frame(gzip.compress(request), COMPRESSED)
    named = await server.post(f"{RUNS}/GetRun", body, **STREAM, Connect_Content_Encoding="gzip")
    assert named.messages()[0]["run"]["runId"] == run["runId"]
    unnamed = await server.post(f"{RUNS}/GetRun", body, **STREAM)
    assert unnamed.messages()[-1]["error"]["code"] == "invalid_argument"
    other = await server.post(f"{RUNS}/GetRun", body, **STREAM, Connect_Content_Encoding="lz4")
    assert other.messages()[-1]["error"]["message"] == "expected connect-content-encoding gzip or zstd, or none"
    plain = await server.post(f"{RUNS}/GetRun", frame(request), **STREAM, Connect_Content_Encoding="gzip")
    assert plain.messages()[0] == named.messages()[0]


async def test_a_compressed_message_is_bounded_by_what_it_holds(server: WebServer) -> None:
    body = frame(gzip.compress(bytes(LIMIT + 1)), COMPRESSED)
    answer = await server.post(f"{RUNS}/GetRun", body, **STREAM, Connect_Content_Encoding="gzip")
    assert answer.messages()[-1]["error"]["code"] == "resource_exhausted"


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_body_of_frames_is_not_compressed_as_a_whole(server: WebServer, coding: str) -> None:
    body = gzip.compress(framed({"runId": MISSING_BLOB}))
    answer = await server.post(f"{RUNS}/GetRun", body, **STREAM, Content_Encoding=coding)
    assert [message["error"]["code"] for message in answer.messages()] == ["unimplemented"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_argument"),
        (b"\0\0", "invalid_argument"),
        (b"\0\0\0\0\x09{}", "invalid_argument"),
        (frame(b"{}", 0x02), "invalid_argument"),
        (frame(b"{}", 0x80), "invalid_argument"),
        (frame(b"{"), "invalid_argument"),
        (b"\0\x7f\xff\xff\xff", "resource_exhausted"),
    ],
)
async def test_malformed_frames_are_refused(server: WebServer, body: bytes, code: str) -> None:
    answer = await server.post(f"{RUNS}/GetRun", body, **STREAM)
    assert [message["error"]["code"] for message in answer.messages()] == [code]


async def test_all_messages_of_a_stream_of_requests_are_read(server: WebServer) -> None:
    parameters = {"parameters": {"flowId": await server.put_flow()}, "inputs": [{"json": "1"}]}
    more = [{"inputs": [{"json": str(number)}]} for number in range(50)]
    answer = await server.stream(f"{RUNS}/SubmitRunStream", parameters, *more)
    assert answer.messages()[0]["run"]["items"]["total"] == "51"
    assert answer.messages()[1] == {}


async def test_others_have_their_turn_between_messages_that_come_at_once(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.concurrency.fair_queue.SLICE_SECONDS", 0.0)
    parameters = runs_pb2.SubmitRunRequest(flow_id=await server.put_flow())
    first, turns, number = runs_pb2.SubmitRunStreamRequest(parameters=parameters), 0, 500
    read, began = FrameReader.next, []

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def read_noted(frames: FrameReader) -> Frame | None:
        began.append(turns)
        return await read(frames)

    monkeypatch.setattr(FrameReader, "next", read_noted)
    beside = asyncio.create_task(other())
    body = frame(first.SerializeToString()) + frame(b"") * number
    answer = await server.post(f"{RUNS}/SubmitRunStream", body, Content_Type="application/connect+proto")
    beside.cancel()
    assert answer.frames()[-1] == (0x02, b"{}")
    assert len(set(began)) >= number


@pytest.mark.parametrize(("method", "kind"), [("GetRun", "connect+json"), ("ListRuns", "grpc-web+json")])
async def test_a_client_that_waits_to_be_asked_for_frames_is_asked(server: WebServer, method: str, kind: str) -> None:
    reader, writer = await asyncio.open_connection(*server.front.address.rsplit(":", 1))
    sent = framed({})
    head = f"POST /{RUNS}/{method} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\n"
    writer.write(f"{head}Expect: 100-continue\r\nContent-Length: {len(sent)}\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(sent)
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()


async def test_a_request_has_one_message_where_one_is_expected(server: WebServer) -> None:
    none = await server.post(f"{RUNS}/ListRuns", b"", **WEB)
    [(flags, trailers)] = none.frames()
    assert flags == 0x80
    assert b"grpc-status: 3" in trailers
    one = await server.post(f"{RUNS}/ListRuns", framed({}), **WEB)
    assert json.loads(one.frames()[0][1]) == {}


@pytest.mark.parametrize("more", [framed({}), frame(b"{"), b"abc", b"\0", frame(b"{}", 0x02), frame(b"", 0x80)])
@pytest.mark.parametrize(("method", "kind"), [("ListRuns", "grpc-web+json"), ("GetRun", "connect+json")])
async def test_nothing_follows_the_one_message(server: WebServer, method: str, kind: str, more: bytes) -> None:
    run = await server.submit()
    request = framed({"runId": run["runId"]} if method == "GetRun" else {})
    answer = await server.post(f"{RUNS}/{method}", request + more, Content_Type=f"application/{kind}")
    [(_, told)] = answer.frames()
    assert (b"grpc-status: 3" in told) or json.loads(told)["error"]["code"] == "invalid_argument"
    assert b"nothing after it" in unquote(told.decode()).encode()


@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("json", b"504 Gateway Timeout", b'"code":"deadline_exceeded"'),
        ("proto", b"504 Gateway Timeout", b'"code":"deadline_exceeded"'),
        ("grpc-web+proto", b"200 OK", b"grpc-status: 4\r\n"),
    ],
)
async def test_a_body_that_stalls_is_a_deadline_that_has_passed(kind: str, status: bytes, told: bytes) -> None:
    """The connection is closed soon: the client may never send the rest."""
    limits = GrpcLimits(patience=0.05)
    http_limits = HttpLimits(body_seconds=0.05, linger_seconds=3_600.0, silent_seconds=0.05)
    async with web_server(http_limits, grpc_limits=limits) as server:
        reader, writer = await asyncio.open_connection(*server.front.address.rsplit(":", 1))
        head = f"POST /{RUNS}/ListRuns HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\n"
        writer.write(f"{head}Content-Length: 10\r\n\r\n\0".encode())
        assert await reader.readline() == b"HTTP/1.1 %b\r\n" % status
        answer = await reader.read()
        assert b"Connection: close\r\n" in answer
        assert told in answer
        writer.close()


PARTLY_SENT = [
    ("SubmitRunStream", "connect+json", b"200 OK", b'"code":"deadline_exceeded"'),
    ("ListRuns", "json", b"504 Gateway Timeout", b'"code":"deadline_exceeded"'),
    ("GetRun", "connect+json", b"200 OK", b'"code":"deadline_exceeded"'),
    ("ListRuns", "grpc-web+json", b"200 OK", b"grpc-status: 4\r\n"),
]
"""Calls whose deadline passes in the middle of the body, the status, and what is told."""


async def partly_sent(server: WebServer, method: str, kind: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin a body without an end, in chunks."""
    reader, writer = await asyncio.open_connection(*server.front.address.rsplit(":", 1))
    head = f"POST /{RUNS}/{method} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\n"
    deadline = "Grpc-Timeout: 50m" if kind.startswith("grpc") else "Connect-Timeout-Ms: 50"
    writer.write(f"{head}{deadline}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\0\r\n".encode())
    return reader, writer


@pytest.mark.parametrize(("method", "kind", "status", "told"), PARTLY_SENT)
async def test_who_sends_nothing_more_after_its_deadline_is_left_soon(
    method: str, kind: str, status: bytes, told: bytes
) -> None:
    async with web_server(HttpLimits(linger_seconds=3_600.0, silent_seconds=0.05)) as server:
        reader, writer = await partly_sent(server, method, kind)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 %b\r\n" % status)
        assert told in answer
        writer.close()


@pytest.mark.parametrize(("method", "kind", "status", "told"), PARTLY_SENT)
async def test_who_goes_on_sending_after_its_deadline_can_read_the_answer(
    method: str, kind: str, status: bytes, told: bytes
) -> None:
    async with web_server(HttpLimits(linger_seconds=3_600.0, silent_seconds=3_600.0)) as server:
        reader, writer = await partly_sent(server, method, kind)
        assert (await reader.readuntil(told)).startswith(b"HTTP/1.1 %b\r\n" % status)
        for _ in range(64):
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await reader.read()  # Nothing has reset the connection.
        writer.close()


async def test_a_message_is_in_a_query_once(server: WebServer) -> None:
    url = f"{server.url(f'{RUNS}/ListRuns')}?encoding=json&message=%7B%7D"
    for query, status in (("", 200), ("&message=%7B%7D", 400)):
        async with server.session.get(url + query) as response:
            assert response.status == status


async def test_a_request_of_protobuf_is_read_as_it_is(server: WebServer) -> None:
    request = runs_pb2.SubmitRunRequest(flow_id=await server.put_flow(), inputs=[runs_pb2.JsonValue(json="1e400")])
    answer = await server.post(
        f"{RUNS}/SubmitRun", request.SerializeToString(), Content_Type="application/proto", Accept_Encoding="identity"
    )
    assert runs_pb2.SubmitRunResponse.FromString(answer.body).run.items.total == 1
    broken = await server.post(f"{RUNS}/SubmitRun", b"\xff", Content_Type="application/proto")
    assert (broken.status, broken.json()["code"]) == (400, "invalid_argument")


async def test_small_messages_in_chunks_of_their_own_are_taken(server: WebServer) -> None:
    """As a client in Go sends them: the five bytes before a message, and the message."""
    parameters = runs_pb2.SubmitRunRequest(flow_id=await server.put_flow())
    first = runs_pb2.SubmitRunStreamRequest(parameters=parameters)
    other = runs_pb2.SubmitRunStreamRequest(inputs=[runs_pb2.JsonValue(json="7")])

    async def chunks() -> AsyncIterator[bytes]:
        for message in (first, *[other] * 8_000):
            framed = frame(message.SerializeToString())
            yield framed[:5]
            yield framed[5:]

    headers = {"content-type": "application/connect+proto"}
    async with server.session.post(server.url(f"{RUNS}/SubmitRunStream"), data=chunks(), headers=headers) as response:
        frames = WebAnswer(response.status, response.headers, await response.read()).frames()
    assert [content for flags, content in frames if flags] == [b"{}"]
    answer = runs_pb2.SubmitRunResponse.FromString(frames[0][1])
    assert answer.run.items.total == 8_000


async def test_chunks_that_are_too_small_are_named(server: WebServer) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield frame(bytes(50_000))[:5]
        for _ in range(30_000):
            yield b" "

    headers = {"content-type": "application/connect+proto"}
    async with server.session.post(server.url(f"{RUNS}/SubmitRunStream"), data=chunks(), headers=headers) as response:
        [(_, end)] = WebAnswer(response.status, response.headers, await response.read()).frames()
    assert "chunks" in json.loads(end)["error"]["message"]
