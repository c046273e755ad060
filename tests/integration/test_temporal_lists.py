"""Lists and counts of runs on a real Temporal server, against what was submitted."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import InvalidParams
from gateway.core.model import RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.runtimes.temporal import recent_here
from tests.support.temporal_gateway import ECHO, TemporalGateway, temporal_gateway
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FAILING = {"output": {"$step": "none"}}


@pytest.fixture
def runtime(temporal_server: TemporalServer) -> str:
    """A namespace that no other test has."""
    return temporal_server.runtime(f"test-{uuid.uuid4()}")


@pytest.fixture
async def gateway(runtime: str, tmp_path: Path) -> AsyncIterator[TemporalGateway]:
    async with temporal_gateway(runtime, tmp_path) as gateway:
        yield gateway


@pytest.fixture
def without_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that knows nothing better than visibility."""
    monkeypatch.setattr(recent_here, "RECENT_SECONDS", -1.0)


async def listed(
    gateway: TemporalGateway, order: RunOrder = RunOrder.OLDEST_FIRST, page: int = 100, **wanted: object
) -> list[RunStatus]:
    """All runs of a list, by pages."""
    found, cursor = list[RunStatus](), ""
    while True:
        runs, cursor = await gateway.runtime.list_runs(RunFilter(**wanted), order, cursor, page)  # type: ignore[arg-type]
        assert len(runs) <= page
        found += runs
        if not cursor:
            return found


async def test_a_submitted_run_is_listed_at_once(gateway: TemporalGateway) -> None:
    for _ in range(10):
        run = await gateway.submit(ECHO)
        assert run.run_id in [found.run_id for found in await listed(gateway, RunOrder.NEWEST_FIRST)]
        await gateway.wait(run.run_id)
        ended = await listed(gateway, states=(RunState.SUCCESS,))
        assert run.run_id in [found.run_id for found in ended]
    assert await gateway.runtime.count_runs(RunFilter()) == 10


async def test_a_list_tells_what_get_tells(gateway: TemporalGateway) -> None:
    run = await gateway.submit(ECHO, range(3), labels={"a": "b"}, flow_label="x", wait=True)
    (found,) = await listed(gateway)
    assert found == (await gateway.runtime.get(run.run_id)).status


async def test_filters(gateway: TemporalGateway, runtime: str, tmp_path: Path) -> None:
    """Each alone and in pairs, with texts that queries have to escape, on a gateway that took none of the runs."""
    texts = ["a", "A", "a%", "it's", 'q"', "b\\'", "line\nbreak", "", "x" * 255]
    runs: list[RunStatus] = []
    for number, text in enumerate(texts):
        flow = {**ECHO, "name": f"flow {text}"}
        labels = {"t": text, "even": str(number % 2 == 0)}
        namespace = "default" if number % 3 else "other"
        run = await gateway.submit(flow, flow_label=text or None, labels=labels, namespace=namespace)
        runs.append(await gateway.wait(run.run_id))
    parent = runs[1]
    filters: list[dict[str, object]] = [{}]
    filters += [{"labels": {"t": text}} for text in texts]
    filters += [{"flow_label": text} for text in texts if text]
    filters += [{"flow_label": f"{text}*"} for text in texts]
    filters += [{"flow_name": f"flow {text}*"} for text in texts]
    filters += [{"flow_ids": (runs[1].flow_id, runs[2].flow_id)}, {"flow_ids": (f"sha256:{'0' * 64}",)}]
    filters += [{"states": (state,)} for state in RunState]
    filters += [{"states": (RunState.SUCCESS, RunState.CANCELLED)}, {"namespace": "default"}, {"namespace": "other"}]
    filters += [{"created_after": runs[4].created_at}, {"created_before": runs[4].created_at}]
    filters += [{"parent_run_id": parent.run_id}, {"root_run_id": parent.run_id}, {"roots_only": True}]
    pairs = [{**a, **b} for a, b in itertools.product(filters[-4:], filters[1:4])]
    async with temporal_gateway(runtime, tmp_path, works=False) as other:
        for wanted in filters + pairs:
            expected = [run for run in runs if RunFilter(**wanted).matches(run)]  # type: ignore[arg-type]
            got = await listed(other, page=5, **wanted)  # type: ignore[arg-type]
            assert [run.run_id for run in got] == [run.run_id for run in expected], wanted
            assert await other.runtime.count_runs(RunFilter(**wanted)) == len(expected), wanted  # type: ignore[arg-type]


@pytest.fixture
def ties(monkeypatch: pytest.MonkeyPatch) -> int:
    """The clock stands still for 50 runs at a time. It begins an hour ago."""
    begin = time.time_ns() - 3_600_000_000_000
    count = itertools.count()
    monkeypatch.setattr("gateway.flows.new_record.start_of_run", lambda: begin + next(count) // 50 * 1_000)
    return begin


@pytest.mark.usefixtures("ties", "without_recent")
async def test_pages_of_runs_with_the_same_time(gateway: TemporalGateway) -> None:
    runs = await asyncio.gather(*(gateway.submit(ECHO, (), wait=True) for _ in range(310)))
    in_order = [run_id for _, run_id in sorted((run.created_at, run.run_id) for run in runs)]
    await ended(gateway, 310)
    for order, page in itertools.product(RunOrder, (50, 1000)):
        got = [run.run_id for run in await listed(gateway, order, page)]
        assert got == (in_order if order is RunOrder.OLDEST_FIRST else in_order[::-1])


async def ended(gateway: TemporalGateway, count: int) -> None:
    """Wait until visibility knows that so many runs have ended."""
    while await gateway.runtime.count_runs(RunFilter(states=(RunState.SUCCESS,))) != count:
        pass


async def counted(gateway: TemporalGateway, count: int) -> None:
    """Wait until visibility knows so many runs."""
    while await gateway.runtime.count_runs(RunFilter()) != count:
        pass


async def test_cursors_of_others_are_refused(gateway: TemporalGateway) -> None:
    for cursor in ("x", "1.x.y", "-1.1.x", f"{'9' * 30}.1.x"):
        with pytest.raises(InvalidParams):
            await gateway.runtime.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, cursor, 10)


async def test_runs_that_nobody_executes_are_listed_as_they_are_known(runtime: str, tmp_path: Path) -> None:
    async with temporal_gateway(runtime, tmp_path, works=False) as gateway:
        run = await gateway.submit(ECHO)
        async with temporal_gateway(runtime, tmp_path, works=False) as other:
            await counted(other, 1)
            (found,) = await listed(other)
            assert found.run_id == run.run_id
            assert found.items.pending == 1
