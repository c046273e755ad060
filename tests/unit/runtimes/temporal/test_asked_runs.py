"""Open runs are asked in turn, as many as the budget lets."""

import asyncio
import time
from typing import cast

import pytest

from gateway.core.errors import RunNotFound, Unavailable
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.core.runtime import Snapshot
from gateway.runtimes.temporal import asked_runs
from gateway.runtimes.temporal.asked_runs import AskedRuns
from gateway.runtimes.temporal.question_budget import RATE, QuestionBudget
from gateway.runtimes.temporal.run_reader import RunReader

ITEMS = ItemStatistics(total=1, pending=1, running=0, success=0, failed=0, cancelled=0)


class GivenReader:
    """Answers, fails, or is silent. `asked` are the runs that were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.is_silent = False

    async def get(self, run_id: str) -> Snapshot:
        self.asked.append(run_id)
        if self.is_silent:
            await asyncio.get_running_loop().create_future()
        if self.failure is not None:
            raise self.failure
        if run_id == "missing":
            raise RunNotFound(run_id)
        status = RunStatus(run_id=run_id, flow_id="f", status=RunState.RUNNING, items=ITEMS, created_at=1)
        return Snapshot(status, 1, 0, 0)


@pytest.fixture
def reader() -> GivenReader:
    return GivenReader()


@pytest.fixture
def runs(reader: GivenReader) -> AskedRuns:
    return AskedRuns(cast("RunReader", reader), QuestionBudget())


async def test_those_that_are_new_come_first_and_all_have_a_turn(reader: GivenReader, runs: AskedRuns) -> None:
    begun = time.monotonic()
    for number in range(int(RATE)):
        runs.add(str(number))
    assert not runs.were_asked_since(begun)
    answers = await runs.ask()
    assert runs.were_asked_since(begun)
    assert {run_id for run_id, _ in answers} == set(reader.asked) == {str(number) for number in range(int(RATE))}
    runs.add("new")
    runs.add("0")
    assert not runs.were_asked_since(begun)
    runs.remove("new")
    assert runs.were_asked_since(begun)
    assert len(runs) == RATE


async def test_a_run_that_is_not_there_is_told(reader: GivenReader, runs: AskedRuns) -> None:
    runs.add("missing")
    assert await runs.ask() == [("missing", None)]


@pytest.mark.parametrize("failure", [None, Unavailable("away", retry_after=1.0)])
async def test_when_nobody_answers_nobody_is_asked_for_a_while(
    reader: GivenReader, runs: AskedRuns, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    monkeypatch.setattr(asked_runs, "PATIENCE_SECONDS", 0.01)
    reader.is_silent, reader.failure = failure is None, failure
    runs.add("run")
    assert await runs.ask() == []
    assert reader.asked == ["run"]
    assert await runs.ask() == []
    assert reader.asked == ["run"]
    assert runs.were_asked_since(time.monotonic() + 60)


async def test_a_defect_is_raised(reader: GivenReader, runs: AskedRuns) -> None:
    reader.failure = ValueError("defect")
    runs.add("run")
    with pytest.raises(ValueError, match="defect"):
        await runs.ask()
