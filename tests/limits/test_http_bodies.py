"""What the bodies of HTTP requests may cost: the memory that they hold, and what encoded ones expand to."""

import gzip
import importlib
import json
import sys
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.memory_account import SMALL_BYTES, MemoryAccount
from gateway.fronts.http.expanding import MAX_MEMBERS, PIECE, Expander
from gateway.fronts.http.limits import HttpLimits
from tests.support.http_front import Answer, RunningFront, call, head, post, running_front
from tests.support.scripted_runtime import MISSING_BLOB

zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

MIB = 1 << 20
BODY = b'{"jsonrpc":"2.0","id":1,"method":"none"}'
GZIP, ZSTD = "Content-Encoding: gzip", "Content-Encoding: zstd"


async def answered(front: RunningFront, request: bytes) -> Answer:
    """The answer to a request on a connection of its own, after which nothing is held."""
    connection = await front.connect()
    answer = await connection.send(request).answer()
    await connection.close()
    await front.holding(0)
    return answer


# The account


async def test_bodies_that_never_end_keep_no_small_request_out() -> None:
    account = MemoryAccount(8 * MIB)
    async with running_front(account=account) as front:
        for _ in range(5):
            connection = await front.connect()
            connection.send(head("/", f"Content-Length: {8 * MIB}") + b" " * (4 * MIB))
            await connection.writer.drain()
        connection = await front.connect()
        for _ in range(20):
            assert (await connection.send(post(b" " * 10_000)).answer()).status == 200
        assert account.held <= account.limit
    assert account.held == 0


async def test_a_body_that_does_not_fit_is_refused_before_it_comes() -> None:
    async with running_front(account=MemoryAccount(MIB)) as front:
        connection = await front.connect()
        answer = await connection.send(head("/", f"Content-Length: {4 * MIB}")).answer()
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["error"]["code"] == -32014
        await front.holding(0)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (post(b" " * 200_000), 200),
        (post(b"[" + b"1," * 100_000 + b"1]"), 200),
        (post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "x", "params": "é" * 100_000}).encode()), 200),
        (post(b" " * 600_000), 429),
        (post(b" " * 2_000_000), 413),
        (post(b"\xff" * 200_000), 200),
        (post(b" " * 200_000, "/none"), 404),
        (post(b" " * 200_000, "/api/v1/blobs"), 400),
        (post(b" " * 200_000, "/api/v1/blobs", kind="application/octet-stream"), 200),
        (post(b" " * 200_000, "/", kind="text/plain"), 415),
        (post(gzip.compress(b" " * 200_000), "/", GZIP), 200),
        (post(gzip.compress(b" " * 2_000_000), "/", GZIP), 413),
        (post(zstd.compress(b" " * 200_000), "/", ZSTD), 200),
        (post(b"x" * 100_000, "/", ZSTD), 400),
        (call("runs/submit", {"flowId": MISSING_BLOB, "inputs": ["x" * 200_000]}), 200),
        (call("blobs/put", {"data": "x" * 200_000, "blobType": "data"}), 200),
    ],
)
async def test_nothing_is_held_after_any_end(request_text: bytes, status: int) -> None:
    async with running_front(HttpLimits(body=MIB), MemoryAccount(4 * MIB if status != 429 else MIB)) as front:
        assert (await answered(front, request_text)).status == status


async def test_a_body_is_counted_with_its_text_and_the_slices_of_it() -> None:
    """A body of one share of the memory fits alone, not together with its text."""
    size = 4 * MIB
    account = MemoryAccount(4 * size)
    async with running_front(account=account) as front:
        blob = await answered(front, post(b" " * size, "/api/v1/blobs", kind="application/octet-stream"))
        text = await answered(front, post(b" " * size))
    assert (blob.status, text.status) == (200, 429)


async def test_a_body_is_held_once_while_it_comes() -> None:
    size = 16 * MIB
    async with running_front() as front:
        connection = await front.connect()
        tracemalloc.start()
        try:
            connection.send(head("/", f"Content-Length: {size}"))
            for _ in range(size // MIB):
                connection.send(b"x" * MIB)
                await connection.writer.drain()
            assert (await connection.answer()).json()["error"]["code"] == -32700
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # The body, its text, a copy while that is made, and what waits on the way.
        assert peak < 3 * size + 6 * MIB


async def test_many_small_parts_cost_no_more_than_one() -> None:
    size = 200_000
    parts = b"".join(b"2\r\n  \r\n" for _ in range(size // 2))
    async with running_front() as front:
        connection = await front.connect()
        tracemalloc.start()
        try:
            connection.send(head("/", "Transfer-Encoding: chunked")).send(parts).send(b"0\r\n\r\n")
            assert (await connection.answer()).json()["error"]["code"] == -32700
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # What waits on the way: as bytes, and as parts of two bytes.
        assert peak < 10 * size


# Encoded bodies


@pytest.mark.parametrize("path", ["/", "/api/v1/blobs"])
@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        ("gzip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("GZIP, identity", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:7]) + gzip.compress(BODY[7:]) + gzip.compress(b"")),
        ("zstd", zstd.compress(BODY)),
        ("zstd", zstd.compress(BODY[:7]) + zstd.compress(BODY[7:])),
        ("identity", BODY),
        ("", BODY),
    ],
)
async def test_encoded_bodies_are_expanded(path: str, coding: str, encoded: bytes) -> None:
    async with running_front() as front:
        code = -32601 if path == "/" else None
        for cut in (None, 1, 5):
            connection = await front.connect()
            connection.send(head(path, f"Content-Length: {len(encoded)}", f"Content-Encoding: {coding}"))
            if cut is not None:
                await connection.send(encoded[:cut]).writer.drain()
            answer = await connection.send(encoded[cut or 0 :]).answer()
            assert answer.json()["error"].get("code", None) == (code or 400), answer
            await connection.close()
        await front.holding(0)


async def test_a_large_body_of_either_coding_arrives_whole() -> None:
    content = bytes(range(256)) * 5_000
    async with running_front() as front:
        for coding, encoded in ((GZIP, gzip.compress(content)), (ZSTD, zstd.compress(content))):
            kind = "application/octet-stream"
            stored = await answered(front, post(encoded, "/api/v1/blobs", coding, kind=kind))
            plain = await answered(front, post(content, "/api/v1/blobs", kind=kind))
            assert stored.json() == plain.json()


@pytest.mark.parametrize(
    "coding", ["br", "deflate", "gzip, gzip", "gzip,zstd", "compress", "gzip\r\nContent-Encoding: gzip"]
)
async def test_other_codings_are_refused_with_those_that_are_taken(coding: str) -> None:
    async with running_front() as front:
        answer = await answered(front, post(BODY, "/", f"Content-Encoding: {coding}"))
        assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, zstd")
        assert answer.json()["error"]["data"]["reason"] == "UNSUPPORTED_CONTENT_CODING"


def gzip_bomb(size: int) -> bytes:
    deflating = zlib.compressobj(9, wbits=31)
    return b"".join([*(deflating.compress(bytes(MIB)) for _ in range(size // MIB)), deflating.flush()])


def zstd_bomb(size: int, options: dict[object, int] | None = None) -> bytes:
    compressing = zstd.ZstdCompressor(options=options)
    return b"".join([*(compressing.compress(bytes(MIB)) for _ in range(size // MIB)), compressing.flush()])


def empty_blocks(number: int) -> bytes:
    """A gzip member that expands to nothing, however long it is."""
    deflating = zlib.compressobj(wbits=31)
    return deflating.compress(b"") + b"\0\0\0\xff\xff" * number


BOMBS = {
    "gzip": (GZIP, gzip_bomb(256 * MIB), 413),
    "zstd": (ZSTD, zstd_bomb(256 * MIB), 413),
    "gzip, many members": (GZIP, gzip_bomb(MIB) * 100, 413),
    "zstd, many frames": (ZSTD, zstd_bomb(MIB) * 100, 413),
    "gzip, empty members": (GZIP, gzip.compress(b"") * (MAX_MEMBERS + 1), 400),
    "zstd, empty frames": (ZSTD, zstd.compress(b"") * (MAX_MEMBERS + 1), 400),
    "gzip, empty blocks": (GZIP, empty_blocks(900_000), 413),
    "gzip in gzip": (GZIP, gzip.compress(gzip_bomb(256 * MIB)), 200),
    "zstd, a large window": (ZSTD, zstd_bomb(MIB, {zstd.CompressionParameter.window_log: 27}), 400),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_expand_to_no_more_than_a_body(name: str) -> None:
    coding, bomb, status = BOMBS[name]
    limits = HttpLimits(body=4 * MIB)
    async with running_front(limits) as front:
        connection = await front.connect()
        tracemalloc.start()
        try:
            answer = await connection.send(post(bomb, "/", coding)).answer()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert answer.status == status
        assert peak < 3 * limits.body
        await connection.close()
        await front.holding(0)


@pytest.mark.parametrize("coding", [GZIP, ZSTD])
async def test_a_bomb_of_many_parts_is_expanded_and_read_in_turns(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    expand = Expander.expand

    def counted(self: Expander, data: bytes) -> Iterator[bytes]:
        for piece in expand(self, data):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(Expander, "expand", counted)
    content = b"[%b1]" % (b"[[],[]]," * (4 * MIB // 8))
    bomb = gzip.compress(content) if coding == GZIP else zstd.compress(content)
    async with running_front() as front:
        turns = 0
        yield_turn = FairQueue.yield_turn

        async def counted_turn(self: FairQueue) -> None:
            nonlocal turns
            turns += 1
            await yield_turn(self)

        monkeypatch.setattr(FairQueue, "yield_turn", counted_turn)
        answer = await answered(front, post(bomb, "/", coding))
        assert (answer.status, answer.json()["error"]["code"]) == (200, -32600)
        assert sum(pieces) == len(content)
        assert max(pieces) <= PIECE
        assert turns >= len(pieces)


@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        (GZIP, gzip.compress(BODY)[:-1]),
        (GZIP, gzip.compress(BODY)[:10]),
        (GZIP, gzip.compress(BODY) + b"x"),
        (GZIP, gzip.compress(BODY)[:-8] + bytes(8)),
        (GZIP, BODY),
        (GZIP, zstd.compress(BODY)),
        (ZSTD, zstd.compress(BODY)[:-1]),
        (ZSTD, zstd.compress(BODY) + b"x"),
        (ZSTD, zstd.compress(BODY) + b"xxxxxxxx"),
        (ZSTD, BODY),
    ],
)
async def test_malformed_encodings_are_refused(coding: str, encoded: bytes) -> None:
    async with running_front() as front:
        answer = await answered(front, post(encoded, "/", coding))
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32700)


@pytest.mark.parametrize("coding", [GZIP, ZSTD])
async def test_a_body_of_no_bytes_is_empty_whatever_its_coding(coding: str) -> None:
    async with running_front() as front:
        encoded, plain = [await answered(front, post(b"", "/", *headers)) for headers in ([coding], [])]
        assert (encoded.status, encoded.json()) == (plain.status, plain.json())


# Media types


@pytest.mark.parametrize(
    "kind",
    [
        "application/json-rpc",
        "application/jsonrequest",
        "application/vnd.api+json",
        "application/json-rpc; charset=utf-8",
        'application/json;charset="UTF-8"; x=y',
        "Application/JsonRequest ; Charset=US-ASCII",
    ],
)
async def test_json_has_many_names(kind: str) -> None:
    async with running_front() as front:
        assert (await answered(front, post(BODY, kind=kind))).json()["error"]["code"] == -32601


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", "x"])
async def test_json_has_one_charset(charset: str) -> None:
    async with running_front() as front:
        answer = await answered(front, post(BODY, kind=f"application/json; charset={charset}"))
        assert answer.status == 415
        assert "charset=utf-8" in answer.json()["error"]["message"]


def test_small_requests_are_smaller_than_what_always_passes() -> None:
    assert len(post(b" " * 10_000)) < SMALL_BYTES
