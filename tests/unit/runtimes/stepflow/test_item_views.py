"""The items of runs, from recorded answers of each release, and from those that no record holds."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.errors import RunNotFound
from gateway.core.items import Item, StepState
from gateway.core.model import RunState
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.item_views import ItemViews
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.wire_format import WireFormat
from tests.support.engine_bodies import RELEASES, RUN_ID, WIRE_FORMATS, recorded
from tests.support.engine_proxy import EngineProxy

BODY = {"flowId": "a" * 64, "createdAt": "2026-11-22T13:34:38Z"}


@pytest.fixture
async def server() -> AsyncIterator[EngineProxy]:
    async with EngineProxy().running() as server:
        yield server


@pytest.fixture
async def engine(server: EngineProxy) -> AsyncIterator[EngineRestClient]:
    engine = EngineRestClient(server.url)
    yield engine
    await engine.close()


def views(engine: EngineRestClient, wire_format: WireFormat) -> ItemViews:
    return ItemViews(Runs(engine, Release("some", wire_format)), wire_format)


def reply(body: Any) -> tuple[int, bytes]:
    return 200, json.dumps(body).encode()


def proto_run(status: int, total: int, **items: int) -> tuple[int, bytes]:
    counts = {"total": total, "running": total - sum(items.values()), **items}
    ended = {} if status == 1 else {"completedAt": "2026-11-22T13:34:39Z"}
    return reply({"summary": {**BODY, **ended, "runId": RUN_ID, "status": status, "items": counts}})


async def all_items(views: ItemViews, *states: RunState, limit: int = 100) -> list[Item]:
    found, start = list[Item](), 0
    while True:
        page, rest = await views.page(RUN_ID, states, start, limit, with_inputs=True)
        found += page
        if rest is None:
            return found
        start = rest


@pytest.mark.parametrize("release", RELEASES)
async def test_recorded_items(release: str, server: EngineProxy, engine: EngineRestClient) -> None:
    run = json.loads(recorded(release, "POST /api/v1/runs")[0][1])
    run_id = run.get("summary", run)["runId"]

    def answer(path: str) -> tuple[int, bytes]:
        return 200, recorded(release, f"GET /api/v1/runs/{run_id}{path}")[0][1]

    if WIRE_FORMATS[release] is WireFormat.LEGACY:
        server.replies += [answer(""), answer(""), answer("/steps"), answer("/items")]
    else:
        server.replies += [answer(""), answer("/steps"), answer("/items")]
    page, rest = await views(engine, WIRE_FORMATS[release]).page(run_id, (), 0, 100, with_inputs=True)
    assert rest is None
    assert [item.status for item in page] == [RunState.SUCCESS, RunState.FAILED]
    assert [item.input for item in page] == (
        ['{"m": "a"}', '{"m": 5}'] if WIRE_FORMATS[release] is WireFormat.LEGACY else [None, None]
    )
    assert [[(step.step_id, step.component, step.status) for step in item.steps] for item in page] == [
        [("d", "/builtin/create_messages", StepState.SUCCESS)],
        [("d", "/builtin/create_messages", StepState.FAILED)],
    ]
    assert page[0].result is not None
    assert page[1].result is not None
    assert page[1].result.error is not None
    assert page[1].result.error.message == 'step "d" failed'


async def test_an_item_without_steps_waits(server: EngineProxy, engine: EngineRestClient) -> None:
    steps = [
        {"stepId": "s", "itemIndex": 1, "status": 1, "component": "/x", "updatedAt": "2026-11-22T13:34:38Z"},
        {"stepId": "f", "itemIndex": 1, "status": 3, "component": "/y", "errorMessage": "no", "errorCode": 3},
    ]
    server.replies += [proto_run(1, 2), reply({"steps": steps})]
    waiting, running = await all_items(views(engine, WireFormat.PROTO_JSON))
    assert (waiting.status, waiting.steps) == (RunState.PENDING, ())
    assert running.status is RunState.RUNNING
    first, second = running.steps
    assert (first.status, first.started_at, first.completed_at) == (StepState.RUNNING, 1_795_354_478 * 10**9, None)
    assert second.error is not None
    assert (second.status, second.error.code, second.error.message) == (StepState.FAILED, -32100, "no")


async def test_what_executes_of_a_cancelled_run_counts_for_nothing(
    server: EngineProxy, engine: EngineRestClient
) -> None:
    steps = [{"stepId": "s", "status": 1, "component": "/x"}]
    server.replies += [proto_run(4, 2), reply({"steps": steps})]
    items = await all_items(views(engine, WireFormat.PROTO_JSON))
    assert [(item.status, item.result) for item in items] == [(RunState.CANCELLED, None)] * 2
    assert [step.status for step in items[0].steps] == [StepState.CANCELLED]


async def test_later_pages_are_those_of_the_first(server: EngineProxy, engine: EngineRestClient) -> None:
    there = views(engine, WireFormat.PROTO_JSON)
    results = [{"itemIndex": index, "status": 2 + index % 2, "output": index} for index in range(6)]
    server.replies += [proto_run(3, 6, completed=3, failed=3), reply({"steps": []}), reply({"results": results})]
    items = await all_items(there, RunState.FAILED, limit=2)
    assert [item.item_index for item in items] == [1, 3, 5]
    assert len(server.requests) == 3
    # A page holds a mebibyte, or one item.
    there = views(engine, WireFormat.PROTO_JSON)
    large = [{"itemIndex": index, "status": 2, "output": "x" * 700_000} for index in range(3)]
    server.replies += [proto_run(1, 3), reply({"steps": []})]
    assert {item.status for item in await all_items(there)} == {RunState.PENDING}
    server.replies += [proto_run(2, 3, completed=3), reply({"steps": []}), reply({"results": large})]
    page, rest = await there.page(RUN_ID, (), 0, 100, with_inputs=True)
    assert (len(page), rest) == (1, 1)


async def test_a_run_that_the_engine_does_not_know(server: EngineProxy, engine: EngineRestClient) -> None:
    server.replies.append((404, b"{}"))
    with pytest.raises(RunNotFound):
        await all_items(views(engine, WireFormat.PROTO_JSON))
