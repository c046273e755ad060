"""Under retention, a state takes bounded room, however many runs are submitted."""

import os
from pathlib import Path
from typing import Final

import pytest

from gateway.core.run_filter import RunFilter
from gateway.runtimes.embedded import tombstones
from gateway.runtimes.embedded.retention import Retention
from tests.support.embedded import opened

KEPT: Final = 200
FLOW: Final = {"name": "flow", "output": {"$input": "$"}}


def size_of(path: Path) -> int:
    return os.path.getsize(path)


async def level_off(path: Path, kept: int, rounds: int) -> None:
    """Submit as many runs in each round as are kept, and prune."""
    sizes = []
    async with opened(path) as embedded:
        await embedded.start()
        embedded.journal.retention = Retention(keep_runs=kept, keep_blobs=None)
        for _ in range(rounds):
            for number in range(kept):
                await embedded.submit(FLOW, "x" * 500 + str(number), flow_label="nightly", labels={"n": str(number)})
            await embedded.runtime._pruning.prune_all()
            await embedded.journal._file.write(lambda db: db.execute("PRAGMA user_version").fetchone())  # type: ignore[attr-defined]
            assert await embedded.runtime.count_runs(RunFilter()) == kept
            sizes.append(size_of(path))
    assert size_of(path) <= 1.3 * sizes[len(sizes) // 2] + (8 << 20)


async def test_a_file_levels_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstones, "MAX_TOMBSTONES", 0)
    await level_off(tmp_path / "state.db", KEPT, 6)


@pytest.mark.slow
@pytest.mark.no_cover
async def test_twenty_thousand_runs_level_off(tmp_path: Path) -> None:
    await level_off(tmp_path / "state.db", 2_000, 10)
