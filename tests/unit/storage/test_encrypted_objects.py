"""A storage with keys holds nothing that can be read, and refuses gateways that could not read it."""

from pathlib import Path
from shutil import copy

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Unavailable
from gateway.storage.object_backend import ObjectsError, StoredObject
from gateway.storage.objects import ObjectStore
from gateway.storage.payload_keys import PayloadKeys

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = b"very secret "


async def opened(folder: Path, *secrets: bytes) -> ObjectStore:
    return await ObjectStore.open(f"file://{folder}", MemoryAccount(), PayloadKeys(secrets) if secrets else None)


def contents(folder: Path) -> list[bytes]:
    """What is in all files below a folder."""
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize("times", [0, 1, 100_000])
async def test_objects_are_unreadable_where_they_are_and_the_same_for_those_with_the_key(
    tmp_path: Path, times: int
) -> None:
    store = await opened(tmp_path, OLD)
    data = SECRET * times
    assert await store.put_if_missing("runs/1", data)
    assert not await store.put_if_missing("runs/1", data)
    assert await store.get("runs/1") == data
    assert await store.size("runs/1") == len(data)
    assert await store.list_objects("runs") == [StoredObject("runs/1", len(data))]
    assert await store.get_short("runs/1", 1 << 16) == (data if len(data) < 1 << 16 else len(data))
    assert not any(SECRET in data for data in contents(tmp_path))
    await store.close()


async def test_an_object_cannot_take_the_place_of_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = await opened(tmp_path, OLD)
    await store.put("runs/1", SECRET)
    copy(tmp_path / "runs/1", tmp_path / "runs/2")
    with pytest.raises(Unavailable):
        await store.get("runs/2")
    assert "an object cannot be read: it has been changed" in caplog.text
    await store.close()


async def test_a_storage_tells_gateways_that_lack_the_key(tmp_path: Path) -> None:
    plain = await opened(tmp_path)
    await plain.put("runs/1", SECRET)
    await plain.close()
    store = await opened(tmp_path, OLD)
    assert await store.get("runs/1") == SECRET
    await store.close()
    with pytest.raises(ObjectsError, match="this gateway has no key"):
        await opened(tmp_path)
    with pytest.raises(ObjectsError, match=f"the key {PayloadKeys([OLD]).first_id}, which this gateway does not have"):
        await opened(tmp_path, NEW)


async def test_a_key_takes_the_place_of_another(tmp_path: Path) -> None:
    for secrets in ((OLD,), (OLD, NEW), (NEW, OLD)):
        store = await opened(tmp_path, *secrets)
        await store.put(f"runs/{len(secrets)}-{secrets[0][0]}", SECRET)
        assert await store.get("runs/1-0") == SECRET
        await store.close()
    store = await opened(tmp_path, NEW)
    assert await store.get("runs/2-32") == SECRET
    with pytest.raises(Unavailable):
        await store.get("runs/1-0")
    await store.close()
