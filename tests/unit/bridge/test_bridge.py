"""A bridge between an engine and a component server that both follow a script."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from gateway.bridge import Bridge
from gateway.bridge import task as task_module
from tests.support.component_server import Call, ComponentServer
from tests.support.scripted_engine import RUN_ID, ScriptedEngine

UNAVAILABLE, NOT_FOUND, TOO_LARGE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
)


class Execution:
    """A call of a component. The connection is free for others when it is over."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.over = asyncio.Event()

    @property
    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = self.call.message["params"]
        return params

    async def answer(self, output: Any) -> None:
        await self.call.result({"output": output})
        self.over.set()


class Work:
    """A bridge at work. `calls` are the executions that reach the component server, which a test answers."""

    def __init__(self, engine: ScriptedEngine, bridge: Bridge, calls: "asyncio.Queue[Execution]") -> None:
        self.engine = engine
        self.bridge = bridge
        self.calls = calls

    async def executing(self, task_id: str, component: str = "/double", **fields: Any) -> Execution:
        """Hand out a task, and wait until its component executes."""
        await self.engine.hand_out(task_id, component, **fields)
        return await self.calls.get()

    async def completed(self) -> dict[str, Any]:
        """Wait for a completion."""
        return MessageToDict(await self.engine.completed.get())


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    async with AsyncExitStack() as stack:
        yield await begin(stack)


async def begin(stack: AsyncExitStack, max_tasks: int = 10, prefix: str = "/sdk") -> Work:
    engine, calls = ScriptedEngine(), asyncio.Queue[Execution]()

    async def callback(body: bytes, scope: str) -> bytes:
        request = json.loads(body)
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"scope": scope}}).encode()

    async def script(call: Call) -> None:
        if "method" not in call.message:
            await call.accept()
            return
        execution = Execution(call)
        await calls.put(execution)
        await execution.over.wait()

    url = await stack.enter_async_context(engine.running())
    server = await stack.enter_async_context(ComponentServer(script).running())
    bridge = Bridge(url, "q", {prefix: server}, max_tasks=max_tasks)
    stack.push_async_callback(bridge.close)
    await bridge.start(callback, None)
    return Work(engine, bridge, calls)


async def test_a_task_is_executed_and_completed(work: Work) -> None:
    call = await work.executing("t", payload='{"n": 6}', attempt=2)
    params = call.params
    assert (params["component"], params["input"], params["attempt"]) == ("/double", {"n": 6}, 2)
    assert params["observability"]["run_id"] == RUN_ID
    await call.answer({"doubled": 12})
    assert await work.completed() == {"taskId": "t", "response": {"output": {"doubled": 12.0}}, "runId": RUN_ID}


async def test_any_component_is_offered(work: Work) -> None:
    await work.engine.ask_for_components()
    [component] = (await work.completed())["listComponents"]["components"]
    assert component["path"] == "/{*component}"


@pytest.mark.parametrize(
    ("prefix", "component", "fields", "path"),
    [
        ("/sdk", "/double", {}, "/double"),
        ("/sdk", "/sdk/double", {}, "/double"),
        ("/", "/sdk/double", {}, "/sdk/double"),
        ("/sdk", "/{*component}", {"path_params": {"component": "wild/a"}}, "/wild/a"),
    ],
)
async def test_the_component_server_gets_the_path_below_its_prefix(
    prefix: str, component: str, fields: dict[str, Any], path: str
) -> None:
    async with AsyncExitStack() as stack:
        work = await begin(stack, prefix=prefix)
        call = await work.executing("t", component, **fields)
        assert call.params["component"] == path


async def test_a_task_of_another_worker_is_left_alone(work: Work) -> None:
    work.engine.claimed = True
    await work.engine.hand_out("t", "/double")
    await work.engine.beaten.wait()
    work.engine.claimed = False
    await (await work.executing("u")).answer({})
    assert (await work.completed())["taskId"] == "u"
    assert work.calls.empty()


async def test_a_task_that_is_none_any_more_is_not_executed(work: Work) -> None:
    work.engine.beats = [NOT_FOUND]
    await work.engine.hand_out("t", "/double")
    await work.engine.beaten.wait()
    await (await work.executing("u")).answer({})
    assert (await work.completed())["taskId"] == "u"
    assert work.calls.empty()


async def test_a_claim_is_tried_again_while_the_engine_is_away(work: Work) -> None:
    work.engine.beats = [UNAVAILABLE, UNAVAILABLE]
    await (await work.executing("t")).answer({})
    assert (await work.completed())["taskId"] == "t"


async def test_an_execution_ends_when_another_worker_has_its_task(work: Work) -> None:
    call = await work.executing("t")
    work.engine.claimed = True
    await call.call.closed()
    work.engine.claimed = False
    await (await work.executing("u")).answer({})
    assert (await work.completed())["taskId"] == "u"


async def test_a_task_that_is_handed_out_again_while_it_executes_is_executed_once(work: Work) -> None:
    call = await work.executing("t", attempt=1)
    await work.engine.hand_out("t", "/double", attempt=2)
    await (await work.executing("u")).answer({})
    await call.answer({})
    assert {(await work.completed())["taskId"] for _ in range(2)} == {"t", "u"}
    assert work.calls.empty()


async def test_a_completion_is_tried_again_while_the_engine_is_away(work: Work) -> None:
    work.engine.completions = [UNAVAILABLE, UNAVAILABLE]
    await (await work.executing("t")).answer({"x": 1})
    assert (await work.completed())["response"]["output"] == {"x": 1.0}


async def test_a_result_is_kept_for_an_engine_that_has_restarted_and_hands_the_task_out_again(work: Work) -> None:
    call = await work.executing("t", attempt=1)
    await work.engine.cut()
    await work.engine.worker()
    work.engine.completions = [NOT_FOUND] * 8
    await call.answer({"x": 1})
    await work.engine.refused.wait()
    work.engine.completions = []
    await work.engine.hand_out("t", "/double", attempt=2)
    assert (await work.completed())["response"]["output"] == {"x": 1.0}
    assert work.calls.empty()


async def test_an_output_that_the_engine_does_not_take_fails_the_task(work: Work) -> None:
    work.engine.completions = [TOO_LARGE]
    await (await work.executing("t")).answer({"x": 1})
    error = (await work.completed())["error"]
    assert error["code"] == "TASK_ERROR_CODE_WORKER_ERROR"
    assert error["message"] == "the engine does not take the output: OUT_OF_RANGE: as the test says"


async def test_a_server_that_is_lost_is_unreachable(work: Work) -> None:
    (await work.executing("t")).call.abort()
    error = (await work.completed())["error"]
    assert error["code"] == "TASK_ERROR_CODE_UNREACHABLE"


async def test_so_many_tasks_execute_at_once_as_there_are_places() -> None:
    async with AsyncExitStack() as stack:
        work = await begin(stack, max_tasks=1)
        call = await work.executing("t")
        await work.engine.hand_out("u", "/double")
        await work.engine.hand_out("v", "/double", attempt=1)
        assert work.calls.empty()
        for _ in "tu":
            await call.answer({})
            call = await work.calls.get()
        await call.answer({})
        # The engine may be told of the last two in any order: neither waits for the other.
        assert {(await work.completed())["taskId"] for _ in "tuv"} == {"t", "u", "v"}


async def test_a_task_that_asks_for_a_run_gives_its_place_to_others() -> None:
    async with AsyncExitStack() as stack:
        work = await begin(stack, max_tasks=1)
        asking = await work.executing("t")
        await asking.call.stream()
        await asking.call.event({"jsonrpc": "2.0", "id": "1", "method": "runs/submit", "params": {}})
        await (await work.executing("u")).answer({})
        assert (await work.completed())["taskId"] == "u"
        await asking.call.output({})
        assert (await work.completed())["taskId"] == "t"


async def test_draining_finishes_what_was_claimed(work: Work) -> None:
    call = await work.executing("t")
    draining = asyncio.create_task(work.bridge.drain())
    await call.answer({})
    await draining
    assert (await work.completed())["taskId"] == "t"


async def test_a_bridge_comes_back_to_an_engine_that_restarts(work: Work) -> None:
    for number in range(3):
        await (await work.executing(f"t{number}")).answer({})
        assert (await work.completed())["taskId"] == f"t{number}"
        await work.engine.cut()


async def test_the_tasks_of_a_run_that_is_cancelled_stop(work: Work) -> None:
    call = await work.executing("t")
    work.bridge.cancel_run(RUN_ID)
    completion = await work.completed()
    assert (completion["taskId"], completion["error"]["code"]) == ("t", "TASK_ERROR_CODE_CANCELLED")
    call.over.set()
    # The engine goes on with the run.
    await work.engine.hand_out("next", "/double")
    assert (await work.completed())["error"]["code"] == "TASK_ERROR_CODE_CANCELLED"
    assert work.calls.empty()


async def test_the_engine_is_asked_whether_runs_are_cancelled(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "CANCEL_SECONDS", 0.0)
    call = await work.executing("t")
    work.engine.cancelled = True
    completion = await work.completed()
    assert (completion["taskId"], completion["error"]["code"]) == ("t", "TASK_ERROR_CODE_CANCELLED")
    call.over.set()
