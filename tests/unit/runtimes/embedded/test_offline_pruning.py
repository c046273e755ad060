"""What would go is told beside a gateway; what goes, goes without one."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.runtimes.embedded.offline_pruning import Pruned, preview, prune
from gateway.runtimes.embedded.retention import KeepRule, Retention
from gateway.storage.owned_file import StateError
from tests.support.embedded import opened

FLOW: Final = {"name": "flow", "output": {"$input": "$"}}
RULES: Final = Retention((KeepRule(RunFilter(states=(RunState.SUCCESS,), flow_label="old"), 1e-9),), keep_runs=2)


async def test_a_preview_tells_what_prune_does(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.start()
        for number in range(5):
            await embedded.submit(FLOW, "x" * 50_000, flow_label="old", idempotency_key=str(number))
            await embedded.submit(FLOW, number)
        await embedded.submit(FLOW, *range(1_000), flow_label="old")
        await embedded.put({"output": "unused"})
        assert preview(path, RULES) == Pruned(9, 0)
        assert preview(path, RULES._replace(keep_blobs=1e-9)) == Pruned(9, 1)
        with pytest.raises(StateError, match="in use by another process"):
            await prune(path, RULES)
    size = path.stat().st_size
    assert await prune(path, RULES._replace(keep_blobs=1e-9)) == Pruned(9, 1)
    assert path.stat().st_size < size / 2
    assert preview(path, RULES) == Pruned(0, 0)
    async with opened(path) as embedded:
        assert await embedded.runtime.count_runs(RunFilter()) == 2


async def test_a_file_of_an_earlier_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 5")
    with pytest.raises(StateError, match="schema 5, not 7"):
        preview(path, RULES)
    with pytest.raises(StateError, match="there is no state"):
        await prune(tmp_path / "none.db", RULES)
