"""Runs while the clock of the machine is set."""

import json
from pathlib import Path

import pytest

from gateway.components import Components
from gateway.core.clock import LATEST, now, start_of_run
from gateway.core.errors import StateUnavailable
from gateway.core.model import Blob, BlobType, SubmitParams
from gateway.core.runtime import Snapshot
from gateway.flows.run_ids import RunIds
from gateway.runtimes.embedded.runtime import EmbeddedRuntime

FLOW = Blob(json.dumps({"steps": [], "output": {"$input": "$"}}), BlobType.FLOW)
TODAY = 1_764_000_000 * 10**9
HOUR = 3_600 * 10**9


async def submit(path: Path, clock: list[int], monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """Submit a run to a gateway that has just been started; the clock tells these times, and then the last one."""
    monkeypatch.setattr("time.time_ns", lambda: clock[0])
    runtime = await EmbeddedRuntime.open(str(path), Components({}))
    try:
        flow_id = await runtime.put_blob(FLOW)
        await runtime.start(None)  # type: ignore[arg-type]
        monkeypatch.setattr("time.time_ns", lambda: clock.pop(0) if len(clock) > 1 else clock[0])
        return await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1", "2"]), "")
    finally:
        await runtime.close()


async def test_nothing_ends_before_it_began_and_ids_grow_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    for clock in ([TODAY, TODAY - HOUR], [TODAY - HOUR, TODAY - 2 * HOUR], [TODAY - 3 * HOUR], [0]):
        first = clock[0]
        snapshot = await submit(tmp_path / "state.db", clock, monkeypatch)
        assert snapshot.results is not None
        times = [snapshot.status.created_at, snapshot.status.completed_at]
        assert times + [result.completed_at for result in snapshot.results] == [first] * 4
        ids.append(snapshot.status.run_id)
    assert ids == sorted(set(ids))


async def test_a_time_that_the_interpreter_cannot_tell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def year_2300() -> int:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")

    monkeypatch.setattr("time.time_ns", year_2300)
    assert now() == LATEST
    with pytest.raises(StateUnavailable, match="set to a year from 1970 to 2262"):
        start_of_run()


@pytest.mark.parametrize("year", [1 << 63, 10_413_792_000 * 10**9, -1])
async def test_a_year_that_cannot_be_kept_is_refused(
    year: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StateUnavailable, match="the clock of the gateway is wrong"):
        await submit(tmp_path / "state.db", [year], monkeypatch)


def test_ids_grow_within_one_moment_and_after_those_of_an_earlier_process() -> None:
    ids = RunIds()
    made = [ids.next(TODAY - number) for number in range(5_000)]
    assert made == sorted(set(made))
    again = RunIds()
    again.begin_after(made[-1])
    assert again.next(0) > made[-1]
    assert all(run_id[14] == "7" and run_id[19] in "89ab" and len(run_id) == 36 for run_id in made)
