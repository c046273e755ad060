"""What is no request of HTTP, but names a path of Connect, is refused as Connect does it."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.support.web_front import RUNS, WebServer, framed, web_server

LIST = f"POST /{RUNS}/ListRuns".encode()
HEAD = b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
TYPE = b"Content-Type: application/json\r\n"
TWICE = LIST + HEAD + TYPE + TYPE + b"\r\n{}"
LONG = LIST + b"?message=" + b"x" * 9_000 + HEAD + TYPE + b"\r\n{}"


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with web_server() as server:
        yield server


async def answers(server: WebServer, *pieces: bytes) -> bytes:
    """What comes for pieces, of which each is sent when the one before has been received, up to the end."""
    reader, writer = await asyncio.open_connection(*server.front.address.rsplit(":", 1))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "told"),
    [
        (TWICE, "the request has more than one header Content-Type"),
        (LONG, "the path, or a header, is longer than 8,190 bytes"),
        (LIST + b" HTTP/9.1\r\nHost: x\r\n\r\n", None),
    ],
)
async def test_it_has_the_body_of_connect(server: WebServer, request_bytes: bytes, told: str | None) -> None:
    answer = await answers(server, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n")
    assert b"\r\nConnection: close" in head
    error = msgspec.json.decode(body)
    assert (error["code"], told or error["message"]) == ("invalid_argument", error["message"])
    assert [each["type"] for each in error["details"]] == ["google.rpc.ErrorInfo"]


async def test_a_head_in_pieces_is_known_by_its_beginning(server: WebServer) -> None:
    answer = await answers(server, LONG[:100], LONG[100:])
    assert b'{"code":"invalid_argument"' in answer


CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = framed({"inputs": []})
BROKEN = b"%x\r\n%b\r\nzz\r\n" % (len(GOOD), GOOD)


@pytest.mark.parametrize("before", [b"", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("json", b"400 Bad Request", b'{"code":"invalid_argument"'),
        ("connect+json", b"200 OK", b'{"error":{"code":"invalid_argument"'),
        ("grpc-web+json", b"200 OK", b"grpc-status: 3\r\n"),
        ("grpc-web-text", b"200 OK", b64encode(b"rpc-status: 3\r\n")),
    ],
)
async def test_a_broken_chunk_is_told_in_the_protocol_of_its_request(
    server: WebServer, kind: str, status: bytes, told: bytes, before: bytes
) -> None:
    head = f"POST /{RUNS}/SubmitRunStream HTTP/1.1\r\nHost: x\r\nContent-Type: application/{kind}\r\n".encode()
    answer = (await answers(server, before + head + CHUNKS + BROKEN)).rpartition(b"HTTP/1.1 ")[2]
    assert answer.startswith(status + b"\r\nContent-Type: application/" + kind.encode() + b"\r\n")
    assert told in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        TWICE.replace(RUNS.encode(), b"runs.v1.Other"),
        TWICE.replace(f"/{RUNS}/ListRuns".encode(), b"/"),
        b"nonsense\r\n\r\n",
        f"POST /{RUNS}/ListRuns".encode() + b"x" * 9_000 + HEAD + b"\r\n",
    ],
)
async def test_other_paths_are_refused_as_before(server: WebServer, request_bytes: bytes) -> None:
    assert b'{"jsonrpc":"2.0"' in await answers(server, request_bytes)


async def test_a_body_that_looks_like_a_head_names_no_path(server: WebServer) -> None:
    sent = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b'{"jsonrpc":"2.0"' in await answers(server, sent, TWICE)
