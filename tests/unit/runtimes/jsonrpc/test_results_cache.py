"""Results that an upstream gives all at once: their places never change, and no more is kept or read than need be."""

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.errors import RemoteError, Unavailable
from gateway.core.model import ResultOrder
from gateway.core.runtime import Page
from gateway.runtimes.jsonrpc import results_cache as module
from gateway.runtimes.jsonrpc.results_cache import CachedResults, Prefixes, ResultsCache
from gateway.runtimes.jsonrpc.snapshots import snapshot_of

RUN = "11111111-2222-4333-8444-aaaaaaaaaaaa"


def entry(index: int, second: int | None = 0, value: object = None) -> dict[str, Any]:
    result: dict[str, Any] = {"itemIndex": index, "result": {"outcome": "success", "value": value}}
    return result if second is None else {**result, "completedAt": f"2025-01-15T10:30:{second:02}Z"}


class Server:
    """Answers with the entries that it is given, for a run of `total` items."""

    def __init__(self, total: int = 4) -> None:
        self.total = total
        self.entries: list[dict[str, Any]] = []
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, run_id: str) -> str:
        self.reads += 1
        await self.gate.wait()
        finished = len([entry for entry in self.entries if "result" in entry])
        return json.dumps(
            {
                "runId": run_id,
                "flowId": "ab" * 32,
                "status": "success" if finished == self.total else "running",
                "items": {"total": self.total, "success": finished},
                "createdAt": "2025-01-15T10:30:00Z",
                "results": self.entries,
            }
        )


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def cache(server: Server) -> ResultsCache:
    return ResultsCache(server.fetch)


def order(cached: CachedResults) -> list[int]:
    return [result.item_index for result in cached.results]


async def test_the_order_is_that_of_the_upstream(server: Server, cache: ResultsCache) -> None:
    server.entries = [entry(2), entry(0), {"itemIndex": 1, "status": "running"}, entry(3, None)]
    cached = await cache.fresh(RUN)
    assert (order(cached), cached.prefix, cached.complete) == ([2, 0, 3], 1, False)


async def test_an_upstream_that_orders_by_index_is_corrected_by_its_times(server: Server, cache: ResultsCache) -> None:
    server.entries = [entry(0, 7), entry(1, 5), entry(2, None), entry(3, 5)]
    cached = await cache.fresh(RUN)
    assert (order(cached), cached.prefix, cached.complete) == ([1, 3, 0, 2], 4, True)


async def test_a_place_is_kept_whatever_comes_later(server: Server, cache: ResultsCache) -> None:
    server.entries = [entry(2), entry(1), entry(2)]
    assert order(await cache.fresh(RUN)) == [2, 1]
    server.entries = [entry(0), entry(1), entry(2), entry(3)]
    assert order(await cache.fresh(RUN)) == [2, 1, 0, 3]


async def test_callers_at_once_share_a_request(server: Server, cache: ResultsCache) -> None:
    server.gate.clear()
    server.entries = [entry(0)]
    tasks = [asyncio.create_task(cache.covering(RUN, 1)) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    server.gate.set()
    assert {id(found) for found in await asyncio.gather(*tasks[1:])} == {id(cache.kept(RUN))}
    assert server.reads == 1


async def test_results_that_are_counted_but_not_shown_are_waited_for(
    server: Server, cache: ResultsCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))
    with pytest.raises(Unavailable, match="counts"):
        await cache.covering(RUN, 1)
    assert server.reads == 3
    server.entries = [entry(0)]
    assert order(await cache.covering(RUN, 1)) == [0]
    server.total = 1
    await cache.fresh(RUN)
    # It has finished: nothing more is to come.
    assert order(await cache.covering(RUN, 4)) == [0]


async def test_little_is_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [f"{number:08}{RUN[8:]}" for number in range(4)]
    monkeypatch.setattr(module, "MAX_CACHED", 3)
    server.entries = [entry(0, value="x" * 100)]
    cache = ResultsCache(server.fetch)
    for run_id in (*runs, runs[1], runs[0]):
        await cache.covering(run_id, 1)
    assert [run_id for run_id in runs if cache.kept(run_id)] == [runs[0], runs[1], runs[3]]
    monkeypatch.setattr(module, "MAX_TEXT", 150)
    cache = ResultsCache(server.fetch)
    for run_id in (*runs, runs[2]):
        await cache.fresh(run_id)
    assert [run_id for run_id in runs if cache.kept(run_id)] == [runs[2]]


async def test_malformed_results_are_an_error_of_the_upstream(server: Server, cache: ResultsCache) -> None:
    server.entries = [{"itemIndex": "0"}]
    with pytest.raises(RemoteError, match=r"results\[0\]\.item_index"):
        await cache.fresh(RUN)


async def test_pages_hold_the_results_within_their_bounds(server: Server, cache: ResultsCache) -> None:
    server.entries = [entry(2), entry(0), entry(3), entry(1)]
    cached = await cache.fresh(RUN)

    def page(order: ResultOrder, *bounds: int) -> list[int]:
        return [result.item_index for result in cached.page(Page(order, *bounds))]

    assert page(ResultOrder.BY_COMPLETION, 0, 3, 1, 4) == [0, 1]
    assert page(ResultOrder.BY_INDEX, 1, 4, 0, 3) == [2, 3]
    assert page(ResultOrder.BY_INDEX, 0, 4, 1, 2) == [0]


async def test_the_prefix_is_read_when_it_is_unknown_and_not_too_often(
    server: Server, cache: ResultsCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes = Prefixes(cache)
    server.entries = [entry(0), entry(2)]
    given = snapshot_of((await ResultsCache(server.fetch).fresh(RUN)).status, 0)
    server.reads = 0
    assert (await prefixes.completed(given)).prefix == 1
    assert (await prefixes.completed(given)).prefix == 0
    assert server.reads == 1
    monkeypatch.setattr(module, "READ_RATE", 1e-9)
    server.entries = [entry(0), entry(2), entry(1)]
    more = replace(given, completions=3)
    assert (await prefixes.completed(more)).prefix == 3
    server.total = 9
    assert (await prefixes.completed(replace(more, completions=4))).completions == 4
    assert server.reads == 2
    await cache.close()
