"""What it costs to cancel: many runs of one family, and one run of many items."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.concurrency.batches import BATCH
from gateway.core.model import ObservabilityContext, RunState
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.storage.idempotency import IN_MEMORY
from tests.support.embedded import Embedded
from tests.support.held_component import HELD
from tests.support.scripted_components import ScriptedComponents

FAMILY = 1_000
ITEMS = 200_000


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.number = 0
        self._next()

    def _next(self) -> None:
        self.number += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def stop(self) -> None:
        self._handle.cancel()


async def opened(state: str) -> Embedded:
    components: Any = ScriptedComponents(turns=1 << 40)
    runtime = await EmbeddedRuntime.open(state, components)
    embedded = Embedded(runtime, RunsService(runtime, grace=0), runtime._journal)
    await embedded.start()
    return embedded


async def closed(embedded: Embedded) -> None:
    await embedded.runtime.drain()
    await embedded.service.close()
    await embedded.runtime.close()


async def test_a_family_is_cancelled_a_few_in_each_turn_and_by_few_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = await opened(str(tmp_path / "state.db"))
    root = await embedded.submit(HELD, 1, wait=False)
    trace = ObservabilityContext(run_id=root.run_id)
    inner = await asyncio.gather(*(embedded.submit(HELD, n, wait=False, observability=trace) for n in range(FAMILY)))
    commits = 0
    commit = embedded.journal._file._commit  # type: ignore[attr-defined]

    def counted(batch: Any) -> Any:
        nonlocal commits
        commits += 1
        return commit(batch)

    embedded.journal._file._commit = counted  # type: ignore[attr-defined]
    turns, in_turn = Turns(), Counter[int]()
    cancel = Run.cancel

    def noted(run: Run, reason: str | None) -> bool:
        in_turn[turns.number] += 1
        return cancel(run, reason)

    monkeypatch.setattr(Run, "cancel", noted)
    assert (await embedded.runtime.cancel(root.run_id, None)).status.status is RunState.CANCELLED
    turns.stop()
    assert max(in_turn.values()) <= BATCH + 1
    assert commits < FAMILY / 10
    for status in inner:
        assert (await embedded.runtime.get(status.run_id)).status.status is RunState.CANCELLED
    await closed(embedded)


async def test_items_that_have_not_begun_cost_nothing() -> None:
    embedded = await opened(IN_MEMORY)
    status = await embedded.submit(HELD, *range(ITEMS), wait=False, max_concurrency=2)
    written: list[int] = []
    complete = embedded.journal.complete

    async def noted(run_id: str, completions: Any, outcome: Any = None, *stopped: Any) -> None:
        written.append(len(completions))
        await complete(run_id, completions, outcome, *stopped)

    embedded.journal.complete = noted  # type: ignore[method-assign, assignment]
    turns = Turns()
    last = await embedded.runtime.cancel(status.run_id, None)
    turns.stop()
    assert last.status.items.cancelled == ITEMS
    assert written == [0]
    assert turns.number < 50
    await closed(embedded)
