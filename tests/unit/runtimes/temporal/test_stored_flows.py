"""Flows in object storage: refused when they are stored, and compiled once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import FlowNotFound, InvalidFlow, Unavailable
from gateway.core.model import Blob, BlobType
from gateway.flows.flow_cache import FlowCache
from gateway.runtimes.temporal.stored_flows import StoredFlows
from gateway.storage.blob_objects import BlobObjects
from gateway.storage.objects import ObjectStore

ECHO = Blob('{"steps":[],"output":{"$input":"$"}}', BlobType.FLOW)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    store = await ObjectStore.open(f"file://{tmp_path}", MemoryAccount())
    yield store
    await store.close()


@pytest.fixture
def flows(store: ObjectStore) -> StoredFlows:
    return StoredFlows(BlobObjects(store, MemoryAccount()), FlowCache())


async def test_what_is_no_flow_is_not_stored_as_one(flows: StoredFlows, store: ObjectStore) -> None:
    for content in ("[]", b"\0"):
        with pytest.raises(InvalidFlow):
            await flows.put(Blob(content, BlobType.FLOW), "default")
    assert await store.list_objects("blobs", limit=1) == []
    blob_id = await flows.put(Blob("[]", BlobType.DATA), "default")
    with pytest.raises(InvalidFlow, match="flow_id: the blob is not a valid flow"):
        await flows.overridden(blob_id, None, "default")


async def test_a_stored_flow_is_found_compiled_in_its_namespace(flows: StoredFlows) -> None:
    flow_id = await flows.put(ECHO, "default")
    flow = await flows.overridden(flow_id, None, "default")
    assert await flows.overridden(flow_id, None, "default") is flow
    with pytest.raises(FlowNotFound):
        await flows.overridden(flow_id, None, "another")


async def test_a_flow_that_could_not_be_stored_is_not_known(
    flows: StoredFlows, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", away)
        with pytest.raises(Unavailable):
            await flows.put(ECHO, "default")
    flow_id = await flows.put(Blob(ECHO.content, BlobType.DATA), "another")
    with pytest.raises(FlowNotFound):
        await flows.overridden(flow_id, None, "default")
