"""Calls on object storage are counted, with their outcome and their bytes."""

import asyncio
from pathlib import Path

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import TooLarge, Unavailable
from gateway.storage.object_backend import ObjectMissing, ObjectsAway, ObjectsError
from gateway.storage.objects import ObjectStore
from tests.support.counted import Counted


async def test_calls_are_counted_with_their_bytes(tmp_path: Path) -> None:
    counted = Counted()
    store = await ObjectStore.open(f"file://{tmp_path}", MemoryAccount())
    await store.put("a", b"12345")
    await store.get("a")
    with pytest.raises(ObjectMissing):
        await store.get("b")
    with pytest.raises(TooLarge):
        await store.get("a", max_bytes=1)
    await store.delete(["a"])
    await store.list_objects()
    await store.close()
    numbers = {("start", "ok"): 1, ("put", "ok"): 2, ("get", "ok"): 4, ("size", "ok"): 1}
    assert counted.of("runs_gateway_object_calls_total") == {**numbers, ("delete", "ok"): 1, ("list", "ok"): 1}
    assert counted.of("runs_gateway_object_call_seconds")[("get",)] == 4
    assert counted.of("runs_gateway_object_bytes_total") == {("read",): 5, ("written",): 5}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ObjectsAway(), "unavailable"), (ObjectsError(), "error"), (TimeoutError(), "unavailable")],
)
async def test_a_call_that_fails_counts_as_what_it_says_of_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str
) -> None:
    store = await ObjectStore.open(f"file://{tmp_path}", MemoryAccount())

    async def fail(_: str) -> int:
        raise error

    monkeypatch.setattr(store._backend, "size", fail)
    counted = Counted()
    with pytest.raises(Unavailable):
        await store.size("a")
    assert counted.of("runs_gateway_object_calls_total") == {("size", outcome): 1}
    await store.close()


async def test_a_caller_that_leaves_counts_as_such(tmp_path: Path) -> None:
    store = await ObjectStore.open(f"file://{tmp_path}", MemoryAccount())
    counted = Counted()
    call = asyncio.create_task(store.size("a"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert counted.of("runs_gateway_object_calls_total") == {("size", "cancelled"): 1}
    await store.close()
