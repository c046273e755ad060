"""The Stepflow runtime over the released engines: what differs between them is written here, all else is the same."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    IdempotencyConflict,
    InvalidFlow,
    InvalidParams,
    RemoteError,
    RunNotFound,
    TooLarge,
    Unavailable,
    render_path,
)
from gateway.core.json_text import members
from gateway.core.model import (
    Blob,
    BlobType,
    GetParams,
    ItemError,
    ItemResult,
    ItemStatistics,
    ResultOrder,
    RunState,
    SubmitParams,
)
from gateway.core.runtime import RESULT_PAGE_LENGTH, Page
from gateway.runs.service import RunsService
from gateway.runtimes.stepflow.engine import AnswerLost, EngineRequest
from gateway.runtimes.stepflow.release import EngineError
from gateway.runtimes.stepflow.runtime import StepflowRuntime
from gateway.storage.idempotency import IN_MEMORY, Keys
from tests.support.engine import RELEASES, Engine
from tests.support.engine_proxy import CUT, LOSE, EngineProxy
from tests.support.held_tasks import COMPONENT, engine_with_held_tasks

pytestmark = pytest.mark.slow

ECHO = '{"steps":[],"output":{"$input":"$"}}'
HELD = json.dumps(
    {
        "name": "held",
        "steps": [{"id": "s", "component": COMPONENT, "input": {"$input": "$"}}],
        "output": {"$if": {"$input": "$.fast"}, "then": {"$input": "$"}, "else": {"$step": "s"}},
    }
)
NO_RUN = "00000000-0000-0000-0000-000000000000"
NO_BLOB = f"sha256:{'0' * 64}"
DOUBLES = ("0.13.0", "0.12.0")
"""The releases whose runs hold all numbers as doubles."""
BIG = 2**53 + 1


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def engine(release: str, tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(release, tmp_path)
    await engine.start()
    yield engine
    await engine.stop()


@asynccontextmanager
async def runtime_over(
    url: str, *, state: str = IN_MEMORY, lossy_numbers: bool = False
) -> AsyncIterator[StepflowRuntime]:
    async with AsyncExitStack() as stack:
        keys = await Keys.open(state)
        stack.push_async_callback(keys.close)
        runtime = await StepflowRuntime.open(url, keys, lossy_numbers=lossy_numbers)
        stack.push_async_callback(runtime.close)
        yield runtime


@pytest.fixture
async def runtime(engine: Engine) -> AsyncIterator[StepflowRuntime]:
    async with runtime_over(engine.runtime) as runtime:
        yield runtime


@pytest.fixture
async def service(runtime: StepflowRuntime) -> AsyncIterator[RunsService]:
    service = RunsService(runtime)
    yield service
    await service.close()


def flow_id(document: str) -> str:
    return f"sha256:{hashlib.sha256(document.encode()).hexdigest()}"


async def stored(service: RunsService, document: str) -> str:
    return await service.put_blob(Blob(document, BlobType.FLOW))


async def results_of(service: RunsService, document: str, *inputs: str, **more: Any) -> list[ItemResult]:
    params = SubmitParams(flow_id=await stored(service, document), inputs=list(inputs), wait=True, **more)
    return (await service.submit(params)).results or []


async def test_release(runtime: StepflowRuntime, release: str) -> None:
    assert runtime.release.name == ("0.12 or 0.13" if release in DOUBLES else release)


async def test_a_run_from_its_submit_to_its_results(service: RunsService) -> None:
    document = '{"name":"b","output":{"z":{"$input":"$.x"},"a":[1,2.5,null]},"steps":[]}'
    assert await stored(service, document) == flow_id(document)
    status = await service.submit(SubmitParams(flow_id=flow_id(document), inputs=['{"x":6}', '{"x":"é"}'], wait=True))
    assert (status.status, status.flow_id, status.flow_name) == (RunState.SUCCESS, flow_id(document), "b")
    assert status.items == ItemStatistics(total=2, success=2)
    assert [json.loads(result.value or "") for result in status.results or []] == [
        {"z": 6, "a": [1, 2.5, None]},
        {"z": "é", "a": [1, 2.5, None]},
    ]
    # Whole numbers are integers again, and an answer is the same each time.
    assert all(".0" not in (result.value or "") for result in status.results or [])
    for order in ResultOrder:
        params = GetParams(run_id=status.run_id, wait=True, include_results=True, result_order=order)
        # The engine settles the time of the end, by some microseconds, after it has told of the end.
        told = replace(await service.get(params), completed_at=status.completed_at)
        assert told == status


async def test_a_submit_that_does_not_wait(service: RunsService) -> None:
    params = SubmitParams(flow_id=await stored(service, ECHO), inputs=["1", "2"])
    accepted = await service.submit(params)
    assert accepted.results is None
    status = await service.get(GetParams(run_id=accepted.run_id, wait=True, include_results=True))
    assert status.status is RunState.SUCCESS
    assert [result.value for result in status.results or []] == ["1", "2"]


async def test_flows_keep_their_bytes(service: RunsService) -> None:
    """But for white space between tokens, and decimals whose spelling is not the shortest."""
    document = '{ "output": {"z": {"$literal": 1.50}, "a": "\\u00e9 x"},\n "steps": [], "metadata": {"n": 12} }'
    kept = '{"output":{"z":{"$literal":1.5},"a":"é x"},"steps":[],"metadata":{"n":12}}'
    blob_id = await stored(service, document)
    assert blob_id == flow_id(kept)
    assert await service.get_blob(blob_id) == Blob(kept, BlobType.FLOW)
    assert await stored(service, kept) == blob_id


async def test_blobs(service: RunsService) -> None:
    for text in ('{"b":1,"a":9007199254740993}', '"x"', "null", "[1.0,18446744073709551615]"):
        blob_id = await service.put_blob(Blob(text, BlobType.DATA))
        assert blob_id == flow_id(text)
        assert await service.get_blob(blob_id.removeprefix("sha256:").upper()) == Blob(text, BlobType.DATA)
    content = bytes(range(256))
    blob_id = await service.put_blob(Blob(content, BlobType.DATA))
    assert blob_id == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert await service.get_blob(blob_id) == Blob(content, BlobType.DATA)


async def test_what_does_not_exist(service: RunsService, runtime: StepflowRuntime) -> None:
    with pytest.raises(FlowNotFound):
        await service.submit(SubmitParams(flow_id=NO_BLOB, inputs=["1"]))
    with pytest.raises(BlobNotFound):
        await service.get_blob(NO_BLOB)
    with pytest.raises(RunNotFound):
        await service.get(GetParams(run_id=NO_RUN, wait=True))
    with pytest.raises(RunNotFound):
        await runtime.results(NO_RUN, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1))


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ('{"steps":[{"id":"a","component":"/b"},{"id":"a","component":"/b"}],"output":{"$step":"a"}}', "steps[1].id"),
        ('{"steps":[],"output":{"$step":"nowhere"}}', "output"),
        ("[]", ""),
    ],
)
async def test_invalid_flows(service: RunsService, document: str, path: str) -> None:
    with pytest.raises(InvalidFlow) as error:
        await stored(service, document)
    assert path in [render_path(violation.path) for violation in error.value.violations]


async def test_integers_of_the_flow_itself_are_no_doubles(service: RunsService) -> None:
    document = json.dumps(
        {
            "steps": [{"id": "a", "component": "/nowhere", "onError": {"action": "retry", "maxRetries": 1}}],
            "output": {"$input": "$"},
        },
        separators=(",", ":"),
    )
    assert await stored(service, document) == flow_id(document)
    assert [result.value for result in await results_of(service, document, "1")] == ["1"]


async def test_a_flow_with_a_mistake_that_does_no_harm_is_run(service: RunsService) -> None:
    document = '{"steps":[],"output":{"$variable":"undeclared","default":"inline"},"schemas":{"type":"object",'
    document += '"properties":{"variables":{"type":"object","properties":{"declared":{"type":"string"}}}}}}'
    assert [result.value for result in await results_of(service, document, "1")] == ['"inline"']


async def test_variables_overrides_and_concurrency(service: RunsService) -> None:
    schemas = {
        "type": "object",
        "properties": {"variables": {"type": "object", "properties": {"v": {"type": "integer"}}}},
    }
    document = json.dumps(
        {
            "schemas": schemas,
            "steps": [{"id": "s", "component": "/nowhere", "mustExecute": False}],
            "output": {"v": {"$variable": "v"}, "i": {"$input": "$"}},
        }
    )
    for overrides in ('{"s":{"value":{"component":"/elsewhere"}}}', '{"steps":{"s":{"value":{"input":1}}}}'):
        results = await results_of(
            service, document, "1", "2", variables={"v": "7"}, overrides=overrides, max_concurrency=1
        )
        assert [members(result.value or "") for result in results] == [{"v": "7", "i": "1"}, {"v": "7", "i": "2"}]
    with pytest.raises(InvalidParams, match="overrides"):
        await results_of(service, document, "1", overrides='{"nowhere":{"value":{}}}')


async def test_numbers_that_are_lost_are_refused(service: RunsService, release: str) -> None:
    lost = BIG if release in DOUBLES else 2**64
    document = '{"steps":[],"output":[{"$variable":"v"},{"$input":"$"}]}'
    lost_in: list[tuple[str, dict[str, Any]]] = [
        ("inputs[1].a[0]", {"inputs": ["1", f'{{"a":[{lost}]}}']}),
        ("variables.v.b", {"variables": {"v": f'{{"b":{lost}}}'}}),
        ("overrides.s.value.input", {"overrides": f'{{"s":{{"value":{{"input":{lost}}}}}}}'}),
    ]
    for place, more in lost_in:
        params = SubmitParams(flow_id=await stored(service, document), **{"inputs": ["1"], **more})
        with pytest.raises(InvalidParams) as error:
            await service.submit(params)
        assert [render_path(violation.path) for violation in error.value.violations] == [place]
    with pytest.raises(InvalidFlow) as refused:
        await stored(service, f'{{"steps":[],"output":{{"$literal":{lost}}}}}')
    assert [render_path(violation.path) for violation in refused.value.violations] == ["output.$literal"]
    with pytest.raises(InvalidParams, match="data: the engine cannot hold"):
        await service.put_blob(Blob(str(2**64), BlobType.DATA))


async def test_big_integers_where_the_engine_keeps_them(service: RunsService, release: str) -> None:
    if release in DOUBLES:
        assert [result.value for result in await results_of(service, ECHO, str(BIG - 1))] == [str(BIG - 1)]
        return
    document = f'{{"steps":[],"output":{{"l":{{"$literal":{BIG}}},"i":{{"$input":"$"}}}}}}'
    (result,) = await results_of(service, document, f'{{"n":[{BIG},{2**64 - 1},{-(2**63)}]}}')
    assert result.value == f'{{"l":{BIG},"i":{{"n":[{BIG},{2**64 - 1},{-(2**63)}]}}}}'


async def test_lossy_numbers_are_passed_on(engine: Engine, release: str) -> None:
    async with runtime_over(engine.runtime, lossy_numbers=True) as runtime:
        service = RunsService(runtime)
        results = await results_of(service, ECHO, str(BIG), str(2**64))
        rounded = str(BIG - 1) if release in DOUBLES else str(BIG)
        assert [result.value for result in results] == [rounded, results[1].value]
        assert float(results[1].value or "") == 2.0**64
        with pytest.raises(InvalidParams):
            await results_of(service, ECHO, "1e400")
        await service.close()


async def test_runs_without_items(service: RunsService, release: str) -> None:
    params = SubmitParams(flow_id=await stored(service, ECHO), inputs=[], wait=True)
    if release == "0.10.0":
        with pytest.raises(InvalidParams, match="inputs"):
            await service.submit(params)
        return
    status = await service.submit(params)
    assert (status.status, status.results, status.items) == (RunState.SUCCESS, [], ItemStatistics(total=0))


async def test_large_inputs(service: RunsService, release: str) -> None:
    text = f'"{"x" * 3_000_000}"'
    if release not in DOUBLES:
        with pytest.raises(TooLarge):
            await results_of(service, ECHO, text)
        return
    assert [result.value for result in await results_of(service, ECHO, text)] == [text]


async def test_inputs_that_nest_too_deeply(service: RunsService) -> None:
    with pytest.raises(InvalidParams, match=r"inputs\[0\]"):
        await results_of(service, ECHO, "[" * 500 + "]" * 500)


async def test_failures(service: RunsService, release: str) -> None:
    (result,) = await results_of(service, '{"steps":[],"output":{"$input":"$.nowhere"}}', '{"a":1}')
    assert result.status is RunState.FAILED
    error = result.error
    assert error is not None
    assert "nowhere" in error.message
    # 0.10 has codes of its own.
    assert error.code == (1 if release == "0.10.0" else -32200)
    assert error.data is None


async def test_pages_of_results(service: RunsService, runtime: StepflowRuntime) -> None:
    count = RESULT_PAGE_LENGTH + 10
    params = SubmitParams(flow_id=await stored(service, ECHO), inputs=[str(n) for n in range(count)], wait=True)
    status = await service.submit(params)
    assert [result.item_index for result in status.results or []] == list(range(count))
    by_place = GetParams(run_id=status.run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
    completed = (await service.get(by_place)).results or []
    assert sorted(result.item_index for result in completed) == list(range(count))
    assert [result.completed_at for result in completed] == sorted(result.completed_at or 0 for result in completed)
    first = await runtime.results(status.run_id, Page(ResultOrder.BY_INDEX, 0, count, 0, count))
    assert len(first) == RESULT_PAGE_LENGTH
    places = {result.item_index: place for place, result in enumerate(completed)}
    swept = await runtime.results(status.run_id, Page(ResultOrder.BY_INDEX, 5, 50, 20, 30))
    assert [result.item_index for result in swept] == [index for index in range(5, 50) if 20 <= places[index] < 30]
    part = await runtime.results(status.run_id, Page(ResultOrder.BY_COMPLETION, 0, count, count - 3, count))
    assert part == completed[-3:]


async def test_idempotency_keys(engine: Engine, tmp_path: Path) -> None:
    state = str(tmp_path / "keys.db")
    async with runtime_over(engine.runtime, state=state) as runtime:
        service = RunsService(runtime)
        params = SubmitParams(flow_id=await stored(service, ECHO), inputs=["1"], wait=True, idempotency_key="k")
        statuses = await asyncio.gather(*(service.submit(params) for _ in range(5)))
        assert len({status.run_id for status in statuses}) == 1
        assert all(status == statuses[0] for status in statuses)
        with pytest.raises(IdempotencyConflict):
            await service.submit(replace(params, inputs=["2"]))
        assert (await service.submit(params, scope="task")).run_id != statuses[0].run_id
        await service.close()
    async with runtime_over(engine.runtime, state=state) as runtime:
        service = RunsService(runtime)
        assert await service.submit(params) == statuses[0]
        await service.close()


async def runs_of(engine: Engine) -> list[str]:
    """The ids of all runs that the engine has."""
    async with runtime_over(engine.url) as runtime:
        return [run.run_id for run in await runtime._runs.latest(100)]


async def test_a_submit_with_a_key_is_not_doubled_when_its_answer_is_lost(engine: Engine) -> None:
    async with EngineProxy(engine.url, only="POST /runs").running() as proxy, runtime_over(proxy.url) as runtime:
        service = RunsService(runtime)
        params = SubmitParams(flow_id=await stored(service, ECHO), inputs=["1"], wait=True, idempotency_key="k")
        proxy.replies.append(LOSE)
        with pytest.raises(AnswerLost):
            await service.submit(params)
        status = await service.submit(params)
        assert [result.value for result in status.results or []] == ["1"]
        assert await runs_of(engine) == [status.run_id]
        assert proxy.requests.count("POST /runs") == 1

        other = replace(params, idempotency_key="other")
        proxy.replies.append(CUT)
        with pytest.raises(AnswerLost):
            await service.submit(other)
        again = await service.submit(other)
        assert again.run_id != status.run_id
        assert set(await runs_of(engine)) == {again.run_id, status.run_id}
        await service.close()


async def test_submits_in_doubt_that_cannot_be_told_apart_are_refused(engine: Engine) -> None:
    async with EngineProxy(engine.url, only="POST /runs").running() as proxy, runtime_over(proxy.url) as runtime:
        service = RunsService(runtime)
        params = SubmitParams(flow_id=await stored(service, ECHO), inputs=["1"], idempotency_key="k")
        other = replace(params, idempotency_key="other", inputs=["2"])
        proxy.replies += [LOSE, LOSE]
        for lost in (params, other):
            with pytest.raises(AnswerLost):
                await service.submit(lost)
        with pytest.raises(RemoteError, match="another idempotency key"):
            await service.submit(params)
        assert len(await runs_of(engine)) == 2
        await service.close()


async def test_an_engine_that_is_away_and_comes_back(engine: Engine) -> None:
    async with runtime_over(engine.runtime) as runtime:
        service = RunsService(runtime)
        params = SubmitParams(flow_id=await stored(service, ECHO), inputs=["1"], wait=True)
        await engine.kill()
        with pytest.raises(Unavailable) as error:
            await service.submit(params)
        assert error.value.retry_after is not None
        with pytest.raises(Unavailable):
            await service.get_blob(params.flow_id)
        await engine.start()
        blob_id = await when_it_is_back(lambda: stored(service, ECHO))
        assert blob_id == params.flow_id
        assert (await service.submit(params)).status is RunState.SUCCESS
        await service.close()


async def when_it_is_back(attempt: Callable[[], Any]) -> Any:
    while True:
        try:
            return await attempt()
        except Unavailable as away:
            await asyncio.sleep(away.retry_after or 0.0)


async def test_results_come_when_the_last_item_has_ended(release: str, tmp_path: Path) -> None:
    async with engine_with_held_tasks(release, tmp_path) as (engine, tasks), runtime_over(engine.runtime) as runtime:
        service = RunsService(runtime)
        params = SubmitParams(flow_id=await stored(service, HELD), inputs=['{"n":0}', '{"fast":true}', '{"n":2}'])
        run_id = (await service.submit(replace(params, wait=True, timeout=0.0))).run_id
        await tasks.waiting(2)
        get = GetParams(run_id=run_id, include_results=True)
        status = await service.get(get)
        assert (status.status, status.results) == (RunState.RUNNING, [])
        assert status.items == ItemStatistics(total=3, running=3)
        # 0.10 executes a component that has failed again.
        fails = release != "0.10.0"
        await tasks.end({"n": 0}, success=not fails)
        await tasks.end({"n": 2})
        status = await service.get(replace(get, wait=True))
        assert status.items == ItemStatistics(total=3, success=3 - fails, failed=int(fails))
        assert status.status is (RunState.FAILED if fails else RunState.SUCCESS)
        first, *others = status.results or []
        assert [result.value for result in others] == ['{"fast":true}', '{"n":2}']
        if fails:
            assert first.error == ItemError(code=-32100, message="asked to fail")
        await service.close()


async def test_a_client_that_leaves_does_not_cancel_its_run(release: str, tmp_path: Path) -> None:
    async with engine_with_held_tasks(release, tmp_path) as (engine, tasks), runtime_over(engine.runtime) as runtime:
        service = RunsService(runtime)
        params = SubmitParams(flow_id=await stored(service, HELD), inputs=['{"n":7}'], wait=True, idempotency_key="k")
        leaving = asyncio.create_task(service.submit(params))
        await tasks.waiting(1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await tasks.end()
        status = await service.submit(params)
        assert [result.value for result in status.results or []] == ['{"n":7}']
        assert tasks.given == [{"n": 7}]
        await service.close()


async def test_a_cancelled_run(release: str, tmp_path: Path) -> None:
    async with engine_with_held_tasks(release, tmp_path) as (engine, tasks), runtime_over(engine.runtime) as runtime:
        service = RunsService(runtime)
        params = SubmitParams(flow_id=await stored(service, HELD), inputs=['{"n":0}', '{"n":1}'])
        run_id = (await service.submit(params)).run_id
        await tasks.waiting(2)
        answer = await runtime._engine.request(
            EngineRequest("POST", f"/runs/{run_id}/cancel", 30.0, repeatable=False, body=b"{}")
        )
        assert answer.status == 200
        status = await service.get(GetParams(run_id=run_id, wait=True, include_results=True))
        assert (status.status, status.items) == (RunState.CANCELLED, ItemStatistics(total=2, cancelled=2))
        assert [(result.status, result.completed_at) for result in status.results or []] == [
            (RunState.CANCELLED, status.completed_at)
        ] * 2
        await service.close()


async def test_draining(service: RunsService, runtime: StepflowRuntime) -> None:
    run_id = (await service.submit(SubmitParams(flow_id=await stored(service, ECHO), inputs=["1"], wait=True))).run_id
    await runtime.drain()
    with pytest.raises(Unavailable):
        await stored(service, ECHO)
    with pytest.raises(Unavailable):
        await service.submit(SubmitParams(flow_id=flow_id(ECHO), inputs=["1"]))
    async with aclosing(runtime.watch(run_id)) as changes:
        with pytest.raises(Unavailable):
            await anext(changes)
    assert (await service.get(GetParams(run_id=run_id))).status is RunState.SUCCESS


async def test_an_address_without_an_engine(tmp_path: Path) -> None:
    engine = Engine(RELEASES[0], tmp_path)
    await engine.start()
    await engine.stop()
    with pytest.raises(EngineError, match=f"{engine.url}.*cannot be reached"):
        async with runtime_over(engine.runtime):
            pass
