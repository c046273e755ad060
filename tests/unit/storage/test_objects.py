"""An object store: keys, limits, and what callers are told when it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Overloaded, TooLarge, Unavailable
from gateway.storage.object_backend import ObjectBackend, ObjectMissing, ObjectsAway, ObjectsError, StoredObject
from gateway.storage.objects import ObjectStore
from tests.support.garbage import PAYLOAD, left_behind, uncollected


class ScriptedObjects(ObjectBackend):
    """Objects in memory, which can be away, or hold calls."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.calls = 0
        self.most = 0

    async def _call(self) -> None:
        self.calls += 1
        self.most = max(self.most, self.calls)
        try:
            await self.free.wait()
        finally:
            self.calls -= 1
        if self.error is not None:
            raise self.error

    async def put(self, key: str, data: bytes) -> None:
        await self._call()
        self.objects[key] = data

    async def get(self, key: str, admit: Callable[[int], None]) -> bytes:
        await self._call()
        if key not in self.objects:
            raise ObjectMissing
        admit(len(self.objects[key]))
        return self.objects[key]

    async def size(self, key: str) -> int:
        return len(await self.get(key, lambda _: None))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._call()
        for key in keys:
            self.objects.pop(key, None)

    async def list_objects(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        await self._call()
        return []

    async def check(self) -> None:
        await self._call()

    async def close(self) -> None:
        pass


@pytest.fixture
def scripted() -> ScriptedObjects:
    return ScriptedObjects()


@pytest.fixture
def account() -> MemoryAccount:
    return MemoryAccount(64 << 20)


@pytest.fixture
def store(scripted: ScriptedObjects, account: MemoryAccount) -> ObjectStore:
    return ObjectStore(scripted, account)


@pytest.fixture
async def in_files(tmp_path: Path, account: MemoryAccount) -> AsyncIterator[ObjectStore]:
    store = await ObjectStore.open(f"file://{tmp_path}", account)
    yield store
    await store.close()


async def test_a_directory_is_a_store(in_files: ObjectStore, tmp_path: Path) -> None:
    await in_files.put("runs/1", b"one")
    assert await in_files.get("runs/1") == b"one"
    assert await in_files.size("runs/1") == 3
    assert await in_files.list_objects("runs") == [StoredObject("runs/1", 3)]
    await in_files.delete(["runs/1"])
    with pytest.raises(ObjectMissing):
        await in_files.get("runs/1")
    assert (tmp_path / "layout").read_bytes() == b'{"layout":1}\n'


async def test_a_folder_goes_with_all_that_is_in_it(in_files: ObjectStore) -> None:
    for key in ("runs/1/a", "runs/1/b/c", "runs/10", "layout2"):
        await in_files.put(key, b"1")
    await in_files.delete_folder("runs/1")
    await in_files.delete_folder("runs/2")
    assert [found.key for found in await in_files.list_objects()] == ["layout", "layout2", "runs/10"]


async def test_a_directory_with_a_blank_in_its_name(tmp_path: Path, account: MemoryAccount) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    store = await ObjectStore.open(f"file://{tmp_path}/a%20b", account)
    await store.put("c", b"1")
    assert (folder / "c").exists()
    await store.close()


async def test_what_is_there_is_not_written_again(store: ObjectStore, scripted: ScriptedObjects) -> None:
    assert await store.put_if_missing("a", b"one")
    scripted.objects["a"] = b"ONE"
    assert not await store.put_if_missing("a", b"one")
    assert scripted.objects["a"] == b"ONE"
    # A rest of it is no reason to keep that.
    assert await store.put_if_missing("a", b"three")


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", ".a", "a/..", "a/../b", "a b", "a\n", "é", "a" * 201, "a/" * 256 + "a"]
)
async def test_other_texts_are_no_keys(store: ObjectStore, key: str) -> None:
    for call in (store.put(key, b""), store.get(key), store.size(key), store.delete([key])):
        with pytest.raises(ValueError, match="not the key of an object"):
            await call


async def test_what_is_too_large_is_not_read(store: ObjectStore, scripted: ScriptedObjects) -> None:
    scripted.objects["a"] = bytes(101)
    with pytest.raises(TooLarge):
        await store.get("a", max_bytes=100)
    assert await store.get_short("a", 100) == 101
    assert await store.get_short("a", 101) == bytes(101)


async def test_what_has_no_room_is_not_read(scripted: ScriptedObjects) -> None:
    account = MemoryAccount(1 << 20)
    store = ObjectStore(scripted, account)
    scripted.objects["a"] = bytes(600_000)
    with pytest.raises(Overloaded):
        await store.get("a")
    assert account.held == 0


@pytest.mark.parametrize(
    ("error", "retry_after", "line"),
    [
        (ObjectsAway("503 SlowDown"), 1.0, "object storage: get: 503 SlowDown"),
        (ObjectsError("access is denied"), 5.0, "object storage: get: access is denied"),
    ],
)
async def test_callers_are_told_when_to_try_again_and_nothing_else(
    store: ObjectStore,
    scripted: ScriptedObjects,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    retry_after: float,
    line: str,
) -> None:
    scripted.error = error
    with pytest.raises(Unavailable) as told:
        await store.get("secret-key")
    assert told.value.retry_after == retry_after
    assert str(error) not in told.value.message
    assert caplog.messages == [line]
    scripted.error = None
    scripted.objects["secret-key"] = b"1"
    assert await store.get("secret-key") == b"1"


async def test_a_call_ends_in_its_time_and_so_do_those_that_wait_for_their_turn(
    store: ObjectStore, scripted: ScriptedObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.storage.objects.CALL_SECONDS", 0.05)
    scripted.free.clear()
    told = await asyncio.gather(*(store.put(f"{number}", b"1") for number in range(200)), return_exceptions=True)
    assert {type(error) for error in told} == {Unavailable}
    assert scripted.most == 64
    assert scripted.calls == 0
    assert scripted.objects == {}


async def test_a_large_object_has_more_time(
    store: ObjectStore, scripted: ScriptedObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.storage.objects.CALL_SECONDS", 0.0)
    monkeypatch.setattr("gateway.storage.objects._BYTES_A_SECOND", 1)
    await store.put("a", bytes(1_000))
    assert scripted.objects == {"a": bytes(1_000)}


async def test_a_store_that_is_away_is_opened_all_the_same(
    scripted: ScriptedObjects, account: MemoryAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.storage.objects.RemoteObjects", lambda _: scripted)
    scripted.error = ObjectsAway("no connection")
    store = await ObjectStore.open("s3://bucket", account)
    assert caplog.messages == ["object storage: start: no connection"]
    assert store.is_away
    assert store.failed_at
    assert not await store.answers()
    scripted.error = None
    await store.put("a", b"1")
    assert not store.is_away
    assert await store.answers()


@pytest.mark.parametrize("error", [ObjectsError("there is no such bucket")])
async def test_a_store_that_cannot_be_used_is_refused(
    scripted: ScriptedObjects, account: MemoryAccount, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("gateway.storage.objects.RemoteObjects", lambda _: scripted)
    scripted.error = error
    with pytest.raises(ObjectsError, match="there is no such bucket"):
        await ObjectStore.open("s3://bucket", account)


async def test_the_objects_of_a_later_release_are_left_alone(tmp_path: Path, account: MemoryAccount) -> None:
    (tmp_path / "layout").write_bytes(b'{"layout":2}\n')
    with pytest.raises(ObjectsError, match="another release"):
        await ObjectStore.open(f"file://{tmp_path}", account)
    assert (tmp_path / "layout").read_bytes() == b'{"layout":2}\n'


async def test_no_call_leaves_anything_for_the_collector(in_files: ObjectStore) -> None:
    long = b"x" * PAYLOAD
    with uncollected():
        await in_files.put("a", long)
        assert await in_files.get("a") == long
        assert await in_files.get_short("a", 1) == PAYLOAD
        for call in (in_files.get("none"), in_files.get("a", max_bytes=1)):
            with suppress(ObjectMissing, TooLarge):
                await call
        left = left_behind()
    assert left == set()
