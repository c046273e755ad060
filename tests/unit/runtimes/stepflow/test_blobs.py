"""Blobs and flows of an engine that answers as told."""

import json
from collections.abc import AsyncIterator

import pytest

from gateway.core.errors import BlobNotFound, InvalidFlow, InvalidParams, RemoteError
from gateway.core.model import Blob, BlobType
from gateway.runtimes.stepflow.blobs import Blobs
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.wire_format import WireFormat
from tests.support.engine_proxy import EngineProxy

DIGEST = "a" * 64
STORED = (200, json.dumps({"blobId": DIGEST}).encode())
FLOW = Blob('{"steps":[],"output":1}', BlobType.FLOW)


@pytest.fixture
async def server() -> AsyncIterator[EngineProxy]:
    async with EngineProxy().running() as server:
        yield server


@pytest.fixture
async def blobs(server: EngineProxy) -> AsyncIterator[Blobs]:
    engine = EngineRestClient(server.url)
    yield Blobs(engine, Release("0.12 or 0.13", WireFormat.PROTO_JSON), lossy_numbers=False)
    await engine.close()


@pytest.mark.parametrize("content", [b"\x00bytes", '{"a":1}'])
async def test_data_is_stored_as_it_is(server: EngineProxy, blobs: Blobs, content: bytes | str) -> None:
    server.replies.append(STORED)
    assert await blobs.put(Blob(content, BlobType.DATA)) == f"sha256:{DIGEST}"
    assert server.requests == ["POST /blobs"]


async def test_data_that_the_engine_cannot_hold_is_refused(server: EngineProxy, blobs: Blobs) -> None:
    with pytest.raises(InvalidParams, match="the engine cannot hold"):
        await blobs.put(Blob(str(2**64), BlobType.DATA))
    server.replies.append((400, b"number out of range"))
    with pytest.raises(InvalidParams, match=r"^data: the engine refuses it"):
        await blobs.put(Blob("1", BlobType.DATA))
    assert server.requests == ["POST /blobs"]


async def test_a_flow_that_was_stored_as_data_before_is_refused(server: EngineProxy, blobs: Blobs) -> None:
    # The engine of the test gives no type with the blob.
    server.replies += [(200, b"{}"), STORED, (200, b"{}")]
    with pytest.raises(InvalidFlow, match="stored as data before"):
        await blobs.put(FLOW)
    assert server.requests == ["POST /flows", "POST /blobs", f"GET /blobs/{DIGEST}"]


async def test_a_flow_is_refused_before_it_is_stored(server: EngineProxy, blobs: Blobs) -> None:
    diagnostics = {"diagnostics": [{"level": 1, "path": "$.steps", "formatted": "no"}]}
    server.replies.append((200, json.dumps({"diagnostics": diagnostics}).encode()))
    with pytest.raises(InvalidFlow, match=r"^steps: no"):
        await blobs.put(FLOW)
    with pytest.raises(InvalidFlow, match="the engine cannot hold"):
        await blobs.put(Blob(f'{{"output":{2**53 + 1}}}', BlobType.FLOW))
    assert server.requests == ["POST /flows"]


async def test_reading_a_blob(server: EngineProxy, blobs: Blobs) -> None:
    server.replies += [(200, b"\x00bytes"), (404, b""), (500, b"")]
    assert await blobs.get(f"sha256:{DIGEST}") == Blob(b"\x00bytes", BlobType.DATA)
    with pytest.raises(BlobNotFound):
        await blobs.get(f"sha256:{DIGEST}")
    with pytest.raises(RemoteError, match="the engine answered with HTTP status 500"):
        await blobs.get(f"sha256:{DIGEST}")
