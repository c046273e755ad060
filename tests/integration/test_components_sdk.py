"""The client of component servers with real ones: the released SDK of each dialect, unmodified.

What answers their requests is a few lines here that execute the flows of these tests, in the spelling that all dialects
read. Blobs go through requests in 0.9, and through the blob API since 0.10.
"""

import asyncio
import hashlib
import json
import shlex
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from gateway.components import ComponentError, Components, Limits
from gateway.core.model import JsonText, ObservabilityContext
from tests.support import sdk
from tests.support.spans import ids_of, recorded_spans

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = "2026-01-01T00:00:00Z"
DOUBLE = {"steps": [{"id": "d", "component": "/sdk/double", "input": {"$input": "$"}}], "output": {"$step": "d"}}
FAILED = {"0.11.2": -32100, "0.10.0": -32003, "0.9.2": -32003}
"""With which code the SDKs report that a component has raised an exception."""


class Runs:
    """Executes flows of one step on components, and keeps blobs and runs."""

    def __init__(self) -> None:
        self.blobs: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self.submitted: list[tuple[str, dict[str, Any]]] = []
        self.components: Components | None = None

    async def callback(self, request: bytes, scope: str) -> bytes | None:
        message = json.loads(request)
        params = message["params"]
        match message["method"]:
            case "blobs/put":
                result = {"blob_id": self.put(params["data"], params["blob_type"])}
            case "blobs/get":
                blob = self.blobs[params["blob_id"]]
                result = {"data": blob["data"], "blob_type": blob["blobType"]}
            case "runs/submit":
                self.submitted.append((scope, params))
                run_id = str(uuid.uuid4())
                run = asyncio.create_task(self.run(run_id, params["flowId"], params["inputs"], scope))
                self.runs[run_id] = run
                result = (
                    await run if params["wait"] else status(run_id, params["flowId"], [None] * len(params["inputs"]))
                )
            case "runs/get":
                result = await self.runs[params["runId"]]
        return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()

    def put(self, data: Any, blob_type: str) -> str:
        blob_id = hashlib.sha256(json.dumps(data).encode()).hexdigest()
        self.blobs[blob_id] = {"data": data, "blobType": blob_type, "blobId": blob_id}
        return blob_id

    async def run(self, run_id: str, flow_id: str, inputs: list[Any], scope: str) -> dict[str, Any]:
        step = self.blobs[flow_id]["data"]["steps"][0]
        items = [item if step["input"] == {"$input": "$"} else step["input"] for item in inputs]
        scopes = (f"{scope}/{run_id}/{index}" for index in range(len(items)))
        outcomes = await asyncio.gather(*map(self.outcome, [step["component"]] * len(items), items, scopes))
        return status(run_id, flow_id, outcomes)

    async def outcome(self, component: str, item: Any, scope: str) -> dict[str, Any]:
        try:
            return {"outcome": "success", "result": await self.execute(component, item, scope)}
        except ComponentError as error:
            return {"outcome": "failed", "error": {"code": error.code, "message": error.message}}

    async def execute(self, component: str, item: Any, scope: str = "task") -> Any:
        return json.loads(await self.execute_text(component, json.dumps(item), scope))

    async def execute_text(self, component: str, item: JsonText, scope: str = "task") -> JsonText:
        assert self.components is not None
        context = ObservabilityContext(
            trace_id=uuid.uuid4().hex, span_id=uuid.uuid4().hex[:16], run_id=str(uuid.uuid4()), flow_id="f", step_id="s"
        )
        return await self.components.execute(component, item, attempt=2, observability=context, scope=scope)


def status(run_id: str, flow_id: str, outcomes: list[Any]) -> dict[str, Any]:
    """A run status as all dialects read it; an outcome is None for an item that is running."""
    states = ["running" if o is None else {"success": "completed"}.get(o["outcome"], o["outcome"]) for o in outcomes]
    counts = {name: states.count(name) for name in ("completed", "running", "failed", "cancelled")}
    results = [
        {"itemIndex": index, "status": state, "result": outcome, "completedAt": NOW}
        for index, (state, outcome) in enumerate(zip(states, outcomes, strict=True))
        if outcome is not None
    ]
    state = "running" if counts["running"] else "failed" if counts["failed"] else "completed"
    return {
        "runId": run_id,
        "flowId": flow_id,
        "status": state,
        "items": {"total": len(states), "pending": 0, "success": counts["completed"], **counts},
        "createdAt": NOW,
        "results": results,
    }


@asynccontextmanager
async def blob_api(runs: Runs) -> AsyncIterator[str]:
    """The HTTP interface to blobs; its URL."""

    async def put(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"blobId": runs.put(body["data"], body["blobType"])})

    async def get(request: web.Request) -> web.Response:
        return web.json_response(runs.blobs[request.match_info["blob_id"]])

    application = web.Application()
    application.add_routes([web.post("/api/v1/blobs", put), web.get("/api/v1/blobs/{blob_id}", get)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1/blobs"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening(command: str) -> AsyncIterator[str]:
    """A server that somebody else runs; its URL."""
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{json.loads(await process.stdout.readline())['port']}"
    finally:
        process.kill()
        await process.communicate()


@pytest.fixture(scope="module", params=sdk.VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["command", "url"])
async def runs(request: pytest.FixtureRequest, version: str, sdk_python: Callable[[str], Path]) -> AsyncIterator[Runs]:
    """Components of the SDK's server, spawned or reached."""
    command = shlex.join([str(sdk_python(version)), str(sdk.SERVER)])
    runs = Runs()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(blob_api(runs))
        target = command if request.param == "command" else await stack.enter_async_context(listening(command))
        # A server with an abandoned execution ends only when it is killed.
        runs.components = Components({"/sdk": target}, limits=Limits(stop_timeout=0.5))
        await runs.components.start(runs.callback, url)
        stack.push_async_callback(runs.components.close)
        await runs.components.ready()
        yield runs


async def test_a_plain_component(runs: Runs) -> None:
    assert await runs.execute("/sdk/double", {"n": 4}) == {"doubled": 8}


async def test_integers_of_any_size_survive(runs: Runs) -> None:
    assert await runs.execute_text("/sdk/echo", '{"n":1152921504606846977}') == '{"n":1152921504606846977}'


async def test_many_at_once(runs: Runs) -> None:
    outputs = await asyncio.gather(*(runs.execute("/sdk/double", {"n": n}) for n in range(50)))
    assert outputs == [{"doubled": 2 * n} for n in range(50)]


async def test_what_a_component_is_told(runs: Runs) -> None:
    told = await runs.execute("/sdk/task", {})
    assert str(uuid.UUID(told["run_id"])) == told.pop("run_id")
    assert told == {"attempt": 2, "flow_id": "f", "step_id": "s"}


async def test_a_component_that_fails(runs: Runs, version: str) -> None:
    with pytest.raises(ComponentError, match="asked to fail") as caught:
        await runs.execute("/sdk/fail", {})
    assert (caught.value.code, caught.value.unreachable) == (FAILED[version], False)


@pytest.mark.parametrize(
    ("component", "exists"), [("double", True), ("wild/a/b", True), ("nonsense", False), ("wild", False)]
)
async def test_which_components_exist(runs: Runs, component: str, exists: bool) -> None:
    assert runs.components is not None
    assert await runs.components.resolve(f"/sdk/{component}") is exists


async def test_a_component_that_is_not_there(runs: Runs) -> None:
    with pytest.raises(ComponentError, match="not found") as caught:
        await runs.execute("/sdk/nonsense", {})
    assert caught.value.code == -32001


async def test_blobs(runs: Runs) -> None:
    data: dict[str, Any] = {"text": "é\N{GRINNING FACE}", "list": [1, None, {}]}
    answer = await runs.execute("/sdk/blobs", {"data": data})
    assert answer["data"] == data
    assert runs.blobs[answer["blob_id"]]["blobType"] == "data"


async def test_large_payloads_stay_in_place(runs: Runs) -> None:
    value = {"text": "x" * 2_000_000}
    assert await runs.execute("/sdk/echo", value) == value


async def test_sub_workflow_orchestration(runs: Runs) -> None:
    answer = await runs.execute("/sdk/orchestrator", {"flow": DOUBLE, "items": [{"n": 1}, {"n": 2}]}, scope="task 1")
    assert answer["status"] == "completed"
    assert [result["result"] for result in answer["results"]] == [{"doubled": 2}, {"doubled": 4}]
    scope, params = runs.submitted[-1]
    assert (scope, params["maxConcurrency"], params["wait"]) == ("task 1", 5, True)


async def test_batch_processing(runs: Runs) -> None:
    flow_id = runs.put(DOUBLE, "flow")
    answer = await runs.execute("/sdk/batch_processor", {"flow_id": flow_id, "items": [{"n": 1}, {}, {"n": 3}]})
    assert (answer["processed"], answer["failed"]) == (2, 1)
    assert [result["outcome"] for result in answer["results"]] == ["success", "failed", "success"]


async def test_async_execution_with_polling(runs: Runs) -> None:
    answer = await runs.execute("/sdk/async_processor", {"flow_id": runs.put(DOUBLE, "flow"), "data": {"n": 21}})
    assert (answer["same_run"], answer["status"]) == (True, "completed")
    assert answer["results"][0]["result"] == {"doubled": 42}


async def test_several_requests_at_once(runs: Runs) -> None:
    items = [{"n": n} for n in range(20)]
    answer = await runs.execute("/sdk/at_once", {"flow_id": runs.put(DOUBLE, "flow"), "items": items})
    assert [result["result"]["doubled"] for result in answer["results"]] == list(range(0, 40, 2))


async def test_runs_within_runs(runs: Runs) -> None:
    answer = await runs.execute("/sdk/nest", {"depth": 8, "component": "/sdk/nest"})
    for depth in range(8, 0, -1):
        assert answer["depth"] == depth
        answer = answer["inner"]["result"]
    assert answer == {"depth": 0}


async def test_an_abandoned_execution_does_no_harm(runs: Runs) -> None:
    execution = asyncio.create_task(runs.execute("/sdk/hang", {}))
    await asyncio.sleep(0)
    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await execution
    assert await runs.execute("/sdk/double", {"n": 1}) == {"doubled": 2}


async def test_what_a_component_submits_names_the_span_of_its_execution(runs: Runs) -> None:
    with recorded_spans() as spans:
        answer = await runs.execute("/sdk/orchestrator", {"flow": DOUBLE, "items": [{"n": 1}]})
    assert answer["status"] == "completed"
    spans.only("components/execute", runs_component="/sdk/double")
    told = runs.submitted[-1][1]["observability"]
    execution = spans.only("components/execute", runs_component="/sdk/orchestrator")
    assert (told["trace_id"], told["span_id"]) == ids_of(execution)
