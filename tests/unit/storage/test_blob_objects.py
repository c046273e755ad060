"""Blobs in object storage: named after their content, in each namespace apart, and never taken for others."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import BlobNotFound, Internal
from gateway.core.model import Blob, BlobType
from gateway.storage.blob_objects import BlobObjects
from gateway.storage.objects import ObjectStore

BLOBS = {
    "text": Blob('{"b":1,"a":[1152921504606846977,1e400]}', BlobType.DATA),
    "flow": Blob('{"steps":[]}', BlobType.FLOW),
    "bytes": Blob(b"\0\xff", BlobType.DATA),
    "empty": Blob(b"", BlobType.DATA),
    "long-text": Blob(f'"{"é😀" * 100_000}"', BlobType.DATA),
    "long-flow": Blob(f'"{"x" * 100_000}"', BlobType.FLOW),
    "long-bytes": Blob(bytes(range(256)) * 2_000, BlobType.DATA),
}


@pytest.fixture
def account() -> MemoryAccount:
    return MemoryAccount(64 << 20)


@pytest.fixture
async def store(tmp_path: Path, account: MemoryAccount) -> AsyncIterator[ObjectStore]:
    store = await ObjectStore.open(f"file://{tmp_path}", account)
    yield store
    await store.close()


@pytest.fixture
def blobs(store: ObjectStore, account: MemoryAccount) -> BlobObjects:
    return BlobObjects(store, account)


def path_of(folder: Path, blob_id: str, namespace: str = "default") -> Path:
    digest = blob_id.removeprefix("sha256:")
    return folder / "blobs" / digest[:2] / digest / namespace


@pytest.mark.parametrize("blob", BLOBS.values(), ids=BLOBS)
async def test_a_blob_comes_back_as_it_was(blobs: BlobObjects, account: MemoryAccount, blob: Blob) -> None:
    blob_id = await blobs.put(blob, "default")
    content = blob.content.encode() if isinstance(blob.content, str) else blob.content
    assert blob_id == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert await blobs.get(blob_id, "default") == blob
    peeked = await blobs.peek(blob_id, "default")
    assert peeked == (len(content) if len(content) > 65_536 else blob)
    assert account.held == 0


async def test_json_is_stored_compact(blobs: BlobObjects) -> None:
    blob_id = await blobs.put(Blob('{ "b": 1 }', BlobType.DATA), "default")
    assert await blobs.get(blob_id, None) == Blob('{"b":1}', BlobType.DATA)
    assert await blobs.put(Blob('{"b":1}', BlobType.DATA), "default") == blob_id


async def test_each_namespace_has_its_own(blobs: BlobObjects, store: ObjectStore) -> None:
    blob_id = await blobs.put(BLOBS["text"], "team-a")
    for read in (blobs.get, blobs.peek):
        with pytest.raises(BlobNotFound):
            await read(blob_id, "team-b")
        with pytest.raises(BlobNotFound):
            await read(blob_id, "default")
        assert await read(blob_id, "team-a") == await read(blob_id, None) == BLOBS["text"]
    await blobs.put(BLOBS["text"], "team-b")
    assert len(await store.list_objects("blobs")) == 2


async def test_what_nobody_has_put_is_not_found(blobs: BlobObjects) -> None:
    for blob_id in ("sha256:" + "0" * 64, "0" * 64, "nonsense", "../../layout"):
        with pytest.raises(BlobNotFound):
            await blobs.get(blob_id, None)


async def test_a_blob_is_written_once(blobs: BlobObjects, tmp_path: Path) -> None:
    for name in ("text", "flow", "long-flow"):
        blob_id = await blobs.put(BLOBS[name], "default")
        before = path_of(tmp_path, blob_id).stat()
        assert await blobs.put(BLOBS[name], "default") == blob_id
        after = path_of(tmp_path, blob_id).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_data_becomes_a_flow_and_a_flow_stays_one(blobs: BlobObjects) -> None:
    data, flow = (Blob('{"steps":[]}', kind) for kind in (BlobType.DATA, BlobType.FLOW))
    blob_id = await blobs.put(data, "default")
    await blobs.put(flow, "default")
    assert await blobs.get(blob_id, "default") == flow
    await blobs.put(data, "default")
    assert await blobs.get(blob_id, "default") == flow


@pytest.mark.parametrize("damage", [b"", b"rgblobdt", b"rgblobdt{}", b"garbage " + b"x" * 100_000], ids=len)
@pytest.mark.parametrize("name", ["text", "long-text"])
async def test_damaged_content_is_never_given_out(
    blobs: BlobObjects, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: bytes
) -> None:
    blob_id = await blobs.put(BLOBS[name], "default")
    path_of(tmp_path, blob_id).write_bytes(damage)
    with pytest.raises(Internal):
        await blobs.get(blob_id, "default")
    assert "DamagedBlob" in caplog.text


async def test_what_was_cut_is_written_again(blobs: BlobObjects, tmp_path: Path) -> None:
    blob_id = await blobs.put(BLOBS["text"], "default")
    path_of(tmp_path, blob_id).write_bytes(b"rgblobdt{")
    await blobs.put(BLOBS["text"], "default")
    assert await blobs.get(blob_id, "default") == BLOBS["text"]
