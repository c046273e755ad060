"""Which results of an engine's runs are kept, against a server that answers as told."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.errors import RemoteError, RunNotFound
from gateway.core.model import ResultOrder, RunState, RunStatus
from gateway.core.runtime import RESULT_PAGE_BYTES, Page
from gateway.runtimes.stepflow import runs as module
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.wire_format import WireFormat
from tests.support.engine_proxy import EngineProxy

RUN = "01a20377-4792-7b82-a1a4-f86edb2cd473"
OTHER = "01a20377-4792-7b82-a1a4-f86edb2cd474"
RELEASE = Release("0.12 or 0.13", WireFormat.PROTO_JSON)
ALL = Page(ResultOrder.BY_INDEX, 0, 2, 0, 2)


def state(run_id: str, number: int, total: int = 2) -> tuple[int, bytes]:
    summary = {"runId": run_id, "flowId": "a" * 64, "status": number, "createdAt": "2026-11-22T13:34:38Z"}
    if number in (2, 3):
        summary["completedAt"] = "2026-11-22T13:34:39Z"
    return 200, json.dumps({"summary": {**summary, "items": {"total": total, "completed": total}}}).encode()


def items(*outputs: object) -> tuple[int, bytes]:
    results = [{"itemIndex": index, "status": 2, "output": output} for index, output in enumerate(outputs)]
    return 200, json.dumps({"results": results}).encode()


@pytest.fixture
async def server() -> AsyncIterator[EngineProxy]:
    async with EngineProxy().running() as server:
        yield server


@pytest.fixture
async def engine(server: EngineProxy) -> AsyncIterator[EngineRestClient]:
    engine = EngineRestClient(server.url)
    yield engine
    await engine.close()


@pytest.fixture
def runs(engine: EngineRestClient) -> Runs:
    return Runs(engine, RELEASE)


async def test_results_are_read_once_for_all_pages(server: EngineProxy, runs: Runs) -> None:
    server.replies += [state(RUN, 2), items(1.0, 2.0)]
    for page in (ALL, ALL._replace(start=1), ALL._replace(order=ResultOrder.BY_COMPLETION, first=1)):
        assert (await runs.results(RUN, page))[-1].value == "2"
    assert server.requests == [f"GET /runs/{RUN}", f"GET /runs/{RUN}/items"]


async def test_a_run_that_goes_on_has_no_results(server: EngineProxy, runs: Runs) -> None:
    server.replies.append(state(RUN, 1))
    assert await runs.results(RUN, ALL) == []


async def test_results_of_a_cancelled_run_are_not_kept(server: EngineProxy, runs: Runs) -> None:
    for output in ("before", "after"):
        server.replies += [state(RUN, 4), items(output, output)]
        assert [result.value for result in await runs.results(RUN, ALL)] == [f'"{output}"'] * 2


async def test_only_the_latest_results_are_kept(
    server: EngineProxy, engine: EngineRestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECENT_BYTES", 1)
    runs = Runs(engine, RELEASE)
    for run_id, output in ((RUN, 1), (OTHER, 2), (RUN, 3)):
        server.replies += [state(run_id, 2), items(output, output)]
        for _ in range(2):
            assert [result.value for result in await runs.results(run_id, ALL)] == [str(output)] * 2


async def test_a_page_is_full_when_it_holds_enough_text(server: EngineProxy, runs: Runs) -> None:
    large = "x" * RESULT_PAGE_BYTES
    server.replies += [state(RUN, 2), items(large, large)]
    for index in range(2):
        (result,) = await runs.results(RUN, ALL._replace(start=index))
        assert (result.item_index, result.value) == (index, f'"{large}"')


async def test_results_that_are_not_those_of_the_run(
    server: EngineProxy, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLING_PAUSES", (0.0, 0.0))
    server.replies += [state(RUN, 2, total=3), *[items(1)] * 3]
    with pytest.raises(RemoteError, match="unexpected response from the engine: results that do not match"):
        await runs.results(RUN, ALL)


async def test_errors(server: EngineProxy, runs: Runs) -> None:
    server.replies += [(404, b""), (500, b'{"error":{"message":"out of disk"}}')]
    with pytest.raises(RunNotFound):
        await runs.read(RUN)
    with pytest.raises(RemoteError, match="out of disk"):
        await runs.read(RUN)


def ended(number: int, at: str | None = "2026-11-22T13:34:39Z", **items: int) -> tuple[int, bytes]:
    """What the engine answers to a cancel."""
    summary = {"runId": RUN, "flowId": "a" * 64, "status": number, "createdAt": "2026-11-22T13:34:38Z"}
    if at is not None:
        summary["completedAt"] = at
    return 200, json.dumps({"summary": {**summary, "items": {"total": 2, **items}}}).encode()


@pytest.mark.parametrize(
    ("items", "state"),
    [
        ({"running": 2}, RunState.CANCELLED),
        ({"completed": 2}, RunState.SUCCESS),
        ({"completed": 1, "failed": 1}, RunState.FAILED),
    ],
)
async def test_a_run_that_ends_just_before_its_cancel_keeps_its_end(
    server: EngineProxy, runs: Runs, items: dict[str, Any], state: RunState
) -> None:
    # The engine calls it cancelled in any case.
    server.replies += [state_of_running(), ended(4, **items)]
    end = await runs.cancel(RUN, "no need")
    assert (end.status, end.cancel_reason) == (state, "no need" if state is RunState.CANCELLED else None)
    assert end.items.success + end.items.failed + end.items.cancelled == 2
    # Later, it says something else.
    for later in (ended(4, **items), ended(2, completed=2), ended(3, failed=2)):
        server.replies.append(later)
        assert await runs.read(RUN) == end
    assert server.requests[:2] == [f"GET /runs/{RUN}", f"POST /runs/{RUN}/cancel"]


async def test_nobody_is_told_of_a_cancel_before_it_is_durable(server: EngineProxy, runs: Runs) -> None:
    told: list[asyncio.Task[RunStatus]] = []

    async def inside() -> None:
        told.append(asyncio.create_task(runs.read(RUN)))
        await server.waiting(3)

    server.replies += [state_of_running(), ended(4, running=2), ended(4, running=2)]
    end = await runs.cancel(RUN, "no need", inside)
    assert await told[0] == end
    assert end.cancel_reason == "no need"


async def test_the_first_end_that_was_told_stays(server: EngineProxy, runs: Runs) -> None:
    server.replies.append(ended(2, completed=2))
    first = await runs.read(RUN)
    server.replies.append(ended(4, completed=2))
    assert await runs.read(RUN) == first
    assert first.status is RunState.SUCCESS


@pytest.mark.parametrize("shown", [{"completed": 1}, {"completed": 2, "at": None}])
async def test_a_run_that_has_just_ended_is_read_until_its_counts_and_its_time_are_there(
    server: EngineProxy, runs: Runs, shown: dict[str, Any]
) -> None:
    server.replies += [ended(2, **shown), ended(2, **shown), ended(2, completed=2)]
    first = await runs.read(RUN)
    assert (first.items.success, first.items.cancelled, first.completed_at is None) == (2, 0, False)
    assert len(server.requests) == 3


async def test_results_that_an_engine_has_a_moment_later_are_read_again(
    server: EngineProxy, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLING_PAUSES", (0.0, 0.0))
    server.replies.append(ended(2, completed=2))
    run = await runs.read(RUN)
    items = [{"itemIndex": index, "status": 2, "output": index} for index in range(2)]
    server.replies += [(200, json.dumps({"items": items[:number]}).encode()) for number in (0, 1, 2)]
    results = await runs.all_results(run)
    assert results is not None
    assert [results[index].value for index in range(2)] == ["0", "1"]


async def test_an_end_that_never_settles_is_told_as_it_is(
    server: EngineProxy, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLING_PAUSES", (0.0, 0.0))
    server.replies += [ended(3, failed=1)] * 3
    assert (await runs.read(RUN)).items.cancelled == 1
    # A look that fails does not take back that it has ended.
    server.replies += [ended(3, failed=1), (404, b"{}")]
    assert (await runs.read(RUN)).status is RunState.FAILED


def state_of_running() -> tuple[int, bytes]:
    return ended(1, running=2)
