"""Object storage over a real server of S3: there, away, slow, broken, and set up wrongly."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType
from gateway.storage.blob_objects import BlobObjects
from gateway.storage.object_backend import ObjectMissing, ObjectsError, StoredObject
from gateway.storage.objects import CALL_SECONDS, ObjectStore
from tests.support.byte_proxy import ByteProxy, answer
from tests.support.s3_server import S3Server

LARGE = os.urandom(20_000_000)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[ObjectStore, MemoryAccount]]:
    account = MemoryAccount(256 << 20)
    store = await ObjectStore.open(url, account)
    yield store, account
    assert account.held == 0
    await store.close()


@pytest.fixture
async def store(s3_server: S3Server) -> AsyncIterator[ObjectStore]:
    async with opened(s3_server.url) as (store, _):
        yield store


@pytest.fixture
async def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ByteProxy]:
    """A proxy before the server, by which this process finds it."""
    async with ByteProxy(s3_server.port).running() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy


@pytest.fixture
async def by_proxy(s3_server: S3Server, proxy: ByteProxy) -> AsyncIterator[ObjectStore]:
    async with opened(s3_server.url) as (store, _):
        yield store


async def test_objects_are_below_the_prefix(store: ObjectStore, s3_server: S3Server) -> None:
    await store.put("runs/1/a", b"one")
    await store.put("runs/1/b", b"")
    assert (s3_server.objects / "pre/fix/runs/1/a").read_bytes() == b"one"
    assert [await store.get("runs/1/a"), await store.get("runs/1/b")] == [b"one", b""]
    assert await store.size("runs/1/a") == 3
    await store.put("runs/1/a", b"three")
    assert await store.get("runs/1/a") == b"three"


async def test_what_is_missing_is_missing(store: ObjectStore) -> None:
    for call in (store.get("none"), store.size("none")):
        with pytest.raises(ObjectMissing):
            await call
    assert await store.put_if_missing("none", b"1")
    assert not await store.put_if_missing("none", b"1")
    await store.delete(["none", "nor/this"])
    with pytest.raises(ObjectMissing):
        await store.get("none")


async def test_lists_are_in_the_order_of_keys_and_go_on_after_one(store: ObjectStore) -> None:
    keys = [f"runs/{number}/a" for number in range(30)]
    await asyncio.gather(*(store.put(key, b"12") for key in keys), store.put("other", b""))
    first = await store.list_objects("runs", limit=20)
    rest = await store.list_objects("runs", after=first[-1].key)
    assert first + rest == [StoredObject(key, 2) for key in sorted(keys)]
    assert len(first) == 20
    await store.delete(keys)
    assert [found.key for found in await store.list_objects()] == ["layout", "other"]


async def test_a_large_object_stays_as_it_is(store: ObjectStore) -> None:
    await store.put("large", LARGE)
    assert await store.get("large") == LARGE
    assert await store.get_short("large", 1_000) == len(LARGE)


async def test_many_calls_at_the_same_time(store: ObjectStore) -> None:
    await asyncio.gather(*(store.put(f"many/{number}", str(number).encode()) for number in range(300)))
    found = await asyncio.gather(*(store.get(f"many/{number}") for number in range(300)))
    assert found == [str(number).encode() for number in range(300)]


async def test_blobs_come_back_as_they_were(s3_server: S3Server) -> None:
    async with opened(s3_server.url) as (store, account):
        blobs = BlobObjects(store, account)
        for blob in (
            Blob('{"b":1,"a":[1152921504606846977,1e400]}', BlobType.FLOW),
            Blob(f'"{"é" * 200_000}"', BlobType.DATA),
            Blob(LARGE, BlobType.DATA),
        ):
            blob_id = await blobs.put(blob, "team")
            assert await blobs.get(blob_id, "team") == await blobs.get(blob_id, None) == blob
        assert await blobs.peek(blob_id, "team") == len(LARGE)


async def test_a_server_that_is_away_for_a_moment_is_waited_for(store: ObjectStore, s3_server: S3Server) -> None:
    await store.put("a", b"1")
    await asyncio.to_thread(s3_server.kill)
    reading, writing = asyncio.create_task(store.get("a")), asyncio.create_task(store.put("b", b"2"))
    await asyncio.sleep(0)
    await asyncio.to_thread(s3_server.launch)
    assert await reading == b"1"
    await writing
    assert await store.get("b") == b"2"


async def test_a_server_that_stays_away_is_unavailable_until_it_is_back(
    store: ObjectStore, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.storage.objects.CALL_SECONDS", 0.2)
    await store.put("a", b"1")
    await asyncio.to_thread(s3_server.kill)
    calls = [store.get("a"), store.put("b", b"2"), store.size("a"), store.delete(["a"]), store.list_objects()]
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in told] == [Unavailable] * len(calls)
    monkeypatch.undo()
    await asyncio.to_thread(s3_server.launch)
    assert await store.get("a") == b"1"
    with pytest.raises(ObjectMissing):
        await store.get("b")


@pytest.mark.slow
async def test_calls_while_it_is_away_end_within_ten_seconds(s3_server: S3Server) -> None:
    async with opened(s3_server.url) as (store, _):
        await asyncio.to_thread(s3_server.kill)
        began = time.monotonic()
        told = await asyncio.gather(*(store.get(f"{number}") for number in range(200)), return_exceptions=True)
        assert {(type(error), error.retry_after) for error in told if isinstance(error, Unavailable)} == {
            (Unavailable, 1.0)
        }
        assert time.monotonic() - began < CALL_SECONDS + 1.0


async def test_an_answer_that_stays_away_ends_the_call_and_its_connection(
    by_proxy: ObjectStore, proxy: ByteProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await by_proxy.put("a", b"1")
    monkeypatch.setattr("gateway.storage.objects.CALL_SECONDS", 0.1)
    proxy.passing.clear()
    for call in (by_proxy.get("a"), by_proxy.put("b", b"2"), by_proxy.list_objects()):
        with pytest.raises(Unavailable):
            await call
    monkeypatch.undo()
    proxy.passing.set()
    assert await by_proxy.get("a") == b"1"


async def test_an_answer_that_stops_in_the_middle_ends_the_call(
    by_proxy: ObjectStore, proxy: ByteProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await by_proxy.put("large", LARGE)
    monkeypatch.setattr("gateway.storage.objects.CALL_SECONDS", 0.1)
    monkeypatch.setattr("gateway.storage.objects._BYTES_A_SECOND", len(LARGE) * 10)
    proxy.stop_after = 1_000_000
    with pytest.raises(Unavailable):
        await by_proxy.get("large")
    monkeypatch.undo()
    proxy.stop_after = None
    proxy.passing.set()
    assert await by_proxy.get("large") == LARGE


async def test_what_a_caller_leaves_is_not_read_on(by_proxy: ObjectStore, proxy: ByteProxy) -> None:
    await by_proxy.put("large", LARGE)
    proxy.stop_after = 1_000_000
    reading = asyncio.create_task(by_proxy.get("large"))
    await proxy.stopped.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    proxy.stop_after = None
    proxy.passing.set()
    assert await by_proxy.get("layout")


async def test_a_write_that_a_caller_leaves_is_not_half_there(
    by_proxy: ObjectStore, proxy: ByteProxy, s3_server: S3Server
) -> None:
    proxy.passing.clear()
    writing = asyncio.create_task(by_proxy.put("large", LARGE))
    await asyncio.sleep(0.05)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    proxy.passing.set()
    await by_proxy.put("a", b"1")
    assert [found.key for found in await by_proxy.list_objects()] == ["a", "layout"]


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Slow Down", "429 Too Many Requests"])
async def test_errors_that_pass_are_tried_again(by_proxy: ObjectStore, proxy: ByteProxy, status: str) -> None:
    """The connections that are open stay so; each new one is told an error first."""
    await asyncio.gather(*(by_proxy.put(f"{number}", b"1") for number in range(8)))
    proxy.answers[:] = [answer(status)] * 3
    assert await asyncio.gather(*(by_proxy.get(f"{number % 8}") for number in range(40))) == [b"1"] * 40
    assert proxy.answers == []


async def test_a_bucket_that_is_not_there(s3_server: S3Server) -> None:
    with pytest.raises(ObjectsError, match=r"^there is no such bucket$"):
        await ObjectStore.open("s3://other/prefix", MemoryAccount())


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", r"access is denied \(SignatureDoesNotMatch\)"),
        ("AWS_ACCESS_KEY_ID", "wrong", r"access is denied \(InvalidAccessKeyId\)"),
        ("AWS_ALLOW_HTTP", "false", r"^http needs \.\.\._ALLOW_HTTP=true in the environment$"),
        ("AWS_ALLOW_HTTP", "perhaps", "boolean"),
    ],
)
async def test_settings_that_cannot_be_used_are_told_at_the_start(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ObjectsError, match=problem) as told:
        await ObjectStore.open(s3_server.url, MemoryAccount())
    assert str(s3_server.port) not in str(told.value)


async def test_credentials_that_are_refused_later_do_not_end_anything(
    by_proxy: ObjectStore, proxy: ByteProxy, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = "<Error><Code>ExpiredToken</Code><Message>secret text</Message></Error>"
    await by_proxy.put("a", b"1")
    proxy.answers[:] = [answer("403 Forbidden", refusal)] * 4
    told = await asyncio.gather(*(by_proxy.get("a") for _ in range(20)), return_exceptions=True)
    errors = [error for error in told if isinstance(error, BaseException)]
    assert errors
    assert {str(error) for error in errors} == {"the object storage refuses this server"}
    assert set(caplog.messages) == {"object storage: get: access is denied (ExpiredToken)"}
