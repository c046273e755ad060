"""Results as rows: pages are what was inserted, in both orders."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from gateway.core.model import ItemError, ItemResult, ResultOrder, RunState
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page
from gateway.runtimes.embedded.journal import RUN_ROWS, Completion
from gateway.runtimes.embedded.result_rows import RESULTS_TABLE, insert_results, read_results

TOTAL = 2 * RESULT_PAGE_LENGTH + 100
FIRST = 7 * RUN_ROWS


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(RESULTS_TABLE)
        yield db


def finished(kind: str) -> list[ItemResult]:
    """Results in the order of completion."""
    results = []
    for index in random.Random(kind).sample(range(TOTAL), TOTAL):
        if kind == "gaps" and index % 97 == 5:
            continue
        if kind == "failures" and index % 50 == 3:
            error = ItemError(code=-32100, message="failed", data=f"[{index}]" if index % 2 else None)
            results.append(ItemResult(item_index=index, status=RunState.FAILED, error=error, completed_at=index))
            continue
        value = f'{{"ä,€": "{index}", "😀": [1, 2.5e3, ","]}}'
        if kind == "large" and index % 300 == 7:
            value = '"' + "x" * (RESULT_PAGE_BYTES // 2) + '"'
        if kind == "long" and index in (0, 1_500):
            value = '"' + "é" * (RESULT_PAGE_BYTES + 5) + '"'
        results.append(ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=index << 40))
    return results


@pytest.mark.parametrize("order", ResultOrder)
@pytest.mark.parametrize("kind", ["usual", "gaps", "failures", "large", "long"])
def test_pages_have_the_results_that_were_inserted(db: sqlite3.Connection, kind: str, order: ResultOrder) -> None:
    results = finished(kind)
    insert_results(db, ((FIRST, Completion(place, result)) for place, result in enumerate(results)))
    by_index = order is ResultOrder.BY_INDEX
    expected = sorted(results, key=lambda result: result.item_index) if by_index else results
    page = Page(order, 0, TOTAL, 0, len(results))
    found: list[ItemResult] = []
    while len(found) < len(expected):
        some = read_results(db, FIRST, page).results
        assert 0 < len(some) <= RESULT_PAGE_LENGTH
        assert sum(len(result.value or "") for result in some[:-1]) < RESULT_PAGE_BYTES
        found += some
        page = page._replace(start=some[-1].item_index + 1) if by_index else page._replace(first=len(found))
    assert found == expected
