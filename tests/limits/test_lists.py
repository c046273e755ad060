"""A list costs what its page costs, whatever else the state holds, and takes turns with other reads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.model import ItemResult, RunState
from gateway.core.owner import Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.flows.run_ids import RUN_IDS
from gateway.flows.run_owners import owner_to_json
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.journal import Ended
from gateway.runtimes.embedded.retention import Retention
from tests.support.embedded import Embedded, opened

SECOND: Final = 10**9
START: Final = 1_700_000_000 * SECOND
STEPS_OF_READ: Final = 60_000
"""How many steps of SQLite's machine a read takes at most: a millisecond or two."""

MATCHING: Final = 20
OTHERS: Final = 3_000
ROOT: Final = RUN_IDS.next(START)

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "state": {"states": (RunState.FAILED,)},
    "flow": {"flow_ids": ("sha256:rare",)},
    "name": {"flow_name": "rare"},
    "prefix of the name": {"flow_name": "ra*"},
    "label": {"flow_label": "rare"},
    "prefix of the label": {"flow_label": "ra*"},
    "parent": {"parent_run_id": ROOT},
    "root": {"root_run_id": ROOT},
    "labels": {"labels": {"team": "rare"}},
    "created": {"created_before": START + MATCHING * SECOND},
    "two of them": {"states": (RunState.FAILED, RunState.SUCCESS), "labels": {"team": "rare"}, "flow_label": "ra*"},
}


async def fill(embedded: Embedded, moments: "count[int]", number: int, *, rare: bool, owner: str | None = None) -> None:
    """Add runs that all filters match, or that none does."""
    state = RunState.FAILED if rare else RunState.SUCCESS
    word = "rare" if rare else "usual"
    for moment in (next(moments) for _ in range(number)):
        record = RunRecord(
            run_id=RUN_IDS.next(moment),
            flow_id=f"sha256:{word}",
            flow_name=word,
            flow_label=word,
            total=1,
            max_concurrency=None,
            overrides=None,
            variables="{}",
            observability=None,
            scope="",
            key=None,
            fingerprint="",
            created_at=moment,
            depth=int(rare),
            root_id=ROOT if rare else None,
            parent_id=ROOT if rare else None,
            labels=f'{{"team":"{word}"}}',
            owner=owner,
        )
        result = ItemResult(item_index=0, status=state, value="1", completed_at=moment)
        await embedded.journal.create(record, (), Ended(Outcome(state, 1, 0, moment), [result]))


class Counted:
    """Counts the steps of the reads of a journal."""

    def __init__(self, embedded: Embedded) -> None:
        self.reads: list[int] = []
        file = embedded.journal._file  # type: ignore[attr-defined]
        self._steps = 0
        file._reading.set_progress_handler(self._step, 1)
        read = file.read

        async def counted(operation: Any) -> Any:
            self._steps = 0
            answer = await read(operation)
            self.reads.append(self._steps)
            return answer

        file.read = counted

    def _step(self) -> int:
        self._steps += 1
        return 0


@asynccontextmanager
async def states(path: Path) -> AsyncIterator[tuple[Embedded, Embedded]]:
    """A state with runs that match, and one with many others after these."""
    async with opened(path / "few.db") as few, opened(path / "many.db") as many:
        moments = count(START, SECOND)
        for embedded in (few, many):
            await fill(embedded, count(START, SECOND), MATCHING, rare=True)
        await fill(many, moments, OTHERS, rare=False)
        yield few, many


async def test_what_does_not_match_costs_nothing(tmp_path: Path) -> None:
    async with states(tmp_path) as (few, many):
        for embedded in (few, many):
            await embedded.journal._tail.index()  # type: ignore[attr-defined]
        counts = Counted(few), Counted(many)
        for name, fields in FILTERS.items():
            if name == "created":
                continue  # The others were accepted at these times.
            for order in RunOrder:
                pages = [await each.runtime.list_runs(RunFilter(**fields), order, "", MATCHING) for each in (few, many)]
                assert [len(page.runs) for page in pages] == [MATCHING, MATCHING], name
        assert sum(counts[1].reads) < 2 * sum(counts[0].reads) + STEPS_OF_READ
        assert max(counts[1].reads) < STEPS_OF_READ


@pytest.mark.parametrize(("namespace", "others"), [("default", "team"), ("team", "default"), ("team", "team-a")])
async def test_runs_of_other_namespaces_cost_nothing(namespace: str, others: str, tmp_path: Path) -> None:
    """They are as the runs of the namespace in all else, and far more."""
    own, foreign = (owner_to_json(Owner(name)) for name in (namespace, others))
    async with opened(tmp_path / "few.db") as few, opened(tmp_path / "many.db") as many:
        for embedded in (few, many):
            await fill(embedded, count(START, SECOND), MATCHING, rare=True, owner=own)
        await fill(many, count(START, SECOND), OTHERS, rare=True, owner=foreign)
        for embedded in (few, many):
            await embedded.journal._tail.index()  # type: ignore[attr-defined]
        counts = Counted(few), Counted(many)
        for name, fields in {"all": {}, "roots": {"roots_only": True}, **FILTERS}.items():
            wanted = RunFilter(**fields, namespace=namespace)
            for order in RunOrder:
                pages = [await each.runtime.list_runs(wanted, order, "", MATCHING) for each in (few, many)]
                assert len(pages[0].runs) == len(pages[1].runs) == (0 if name == "roots" else MATCHING), name
            numbers = [await each.runtime.count_runs(wanted) for each in (few, many)]
            assert numbers[0] == numbers[1] == len(pages[0].runs)
            assert sum(counts[1].reads) < 1.2 * sum(counts[0].reads), name
        assert max(counts[1].reads) < STEPS_OF_READ


@pytest.mark.parametrize("fields", [{}, {"states": (RunState.SUCCESS,)}, {"roots_only": True}])
async def test_a_page_of_many_costs_a_page(fields: dict[str, Any], tmp_path: Path) -> None:
    async with states(tmp_path) as (_, many):
        await many.journal._tail.index()  # type: ignore[attr-defined]
        counted = Counted(many)
        page = await many.runtime.list_runs(RunFilter(**fields), RunOrder.NEWEST_FIRST, "", 100)
        assert len(page.runs) == 100
        assert sum(counted.reads) < 3 * STEPS_OF_READ
        assert max(counted.reads) < STEPS_OF_READ


async def test_a_step_of_pruning_deletes_a_few_runs(tmp_path: Path) -> None:
    """Each step is one write; a submit waits for one of them at most."""
    async with opened(tmp_path / "state.db") as embedded:
        await fill(embedded, count(START, SECOND), 1_000, rare=False)
        embedded.journal.retention = Retention(keep_runs=10, keep_blobs=None)
        deleted: list[int] = []
        delete = embedded.journal.delete

        async def noted(runs: Any) -> set[str]:
            deleted.append(len(runs))
            return await delete(runs)

        embedded.journal.delete = noted  # type: ignore[method-assign]
        steps = 0
        while await embedded.runtime._pruning.step():
            steps += 1
            assert sum(deleted) <= 256 * steps
        assert sum(deleted) == 990
        assert max(deleted) <= 256
        assert await embedded.runtime.count_runs(RunFilter()) == 10
