from pathlib import Path

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.runtimes.temporal.kept_results import put_parts, put_results
from gateway.runtimes.temporal.messages import KeptResult, ResultsPart
from gateway.runtimes.temporal.read_parts import PartsReader
from gateway.storage.objects import ObjectStore


@pytest.fixture
async def store(tmp_path: Path) -> ObjectStore:
    return await ObjectStore.open(tmp_path.as_uri(), MemoryAccount())


async def kept(store: ObjectStore, low: int, high: int) -> ResultsPart:
    results = [KeptResult(index, str(index), 1) for index in range(low, high)]
    return await put_results(store, f"part-{low}", results)


async def read(
    store: ObjectStore, parts: list[tuple[int, ResultsPart]], first: int, last: int
) -> list[tuple[int, int]]:
    """The places of the parts that are found, and the first item of each."""
    return [(place, part.low) async for place, part in PartsReader(store).within(parts, first, last)]


async def test_parts_that_an_object_names_are_found_by_their_places(store: ObjectStore) -> None:
    inner = [await kept(store, low, low + 2) for low in (0, 2, 4)]
    index = await put_parts(store, "index", inner)
    assert (index.count, index.low, index.high, index.has_parts) == (6, 0, 6, True)
    parts = [(0, index), (6, await kept(store, 6, 8))]
    assert await read(store, parts, 0, 8) == [(0, 0), (2, 2), (4, 4), (6, 6)]
    assert await read(store, parts, 3, 5) == [(2, 2), (4, 4)]
    assert await read(store, parts, 2, 4) == [(2, 2)]
    reader = PartsReader(store)
    found = [each async for _, part in reader.within(parts, 2, 4) for each in await reader.results(part)]
    assert [(result.item_index, result.value) for result in found] == [(2, "2"), (3, "3")]


async def test_what_was_read_is_not_read_again(store: ObjectStore) -> None:
    index = await put_parts(store, "index", [await kept(store, 0, 2)])
    reader = PartsReader(store)
    first = [await reader.results(part) async for _, part in reader.within([(0, index)], 0, 2)]
    await store.delete(["index", "part-0"])
    assert [await reader.results(part) async for _, part in reader.within([(0, index)], 0, 2)] == first
