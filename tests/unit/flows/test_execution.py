import asyncio
import json
from typing import Any

import pytest

from gateway.core.errors import NotFound, Overloaded, Unavailable
from gateway.core.model import ItemError
from gateway.flows.execution import _FlowExecution, execute_flow
from gateway.flows.task import ItemFailure, Task
from tests.support.flow_host import TASK, FlowHost, compiled, echo, failing, run
from tests.support.item_work import ALONE, item_work

MISSING = {"$input": "nowhere"}


def step(step_id: str, value: Any = None, component: str = "/echo", **members: Any) -> dict[str, Any]:
    return {"id": step_id, "component": component, "input": value, **members}


def ref(step_id: str, path: str | None = None) -> dict[str, Any]:
    return {"$step": step_id, "path": path}


class Blocking:
    """Components that wait until they are told to go on, and tell what happens to them."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.cancelled: list[str] = []
        self.gates: dict[str, asyncio.Future[str]] = {}

    async def __call__(self, text: str, attempt: int, task: Task) -> str:
        step_id = str(task.step_id)
        gate = self.gates[step_id] = asyncio.get_running_loop().create_future()
        self.started.put_nowait(step_id)
        try:
            output: str = await gate
        except asyncio.CancelledError:
            self.cancelled.append(step_id)
            raise
        return output

    async def all_started(self, *step_ids: str) -> None:
        assert sorted([await self.started.get() for _ in step_ids]) == sorted(step_ids)

    def fail(self, step_id: str) -> None:
        self.gates[step_id].set_exception(ItemFailure(ItemError(code=-1, message=f"{step_id} failed")))


@pytest.fixture
def blocking() -> Blocking:
    return Blocking()


@pytest.fixture
def host(blocking: Blocking) -> FlowHost:
    return FlowHost({"/echo": echo, "/fail": failing(), "/block": blocking})


def order(host: FlowHost) -> list[str | None]:
    return [task.step_id for _, _, _, task in host.calls]


async def failure(flow, host: FlowHost, value: Any = None) -> ItemError:
    with pytest.raises(ItemFailure) as caught:
        await run(flow, value, host)
    return caught.value.error


async def test_a_flow_without_steps_neither_suspends_nor_starts_a_task(host: FlowHost) -> None:
    execution = execute_flow(compiled([], {"a": {"$input": "x"}}), '{"x":1e400}', {}, host, TASK)
    with pytest.raises(StopIteration) as finished:
        execution.send(None)
    assert finished.value.value == '{"a":1e400}'
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    "text", ["1152921504606846977", "1e400", "0.1234567890123456789", "-0.0", '{"b":1,"a":{"z":null}}', "null"]
)
async def test_values_pass_through_steps_unchanged(host: FlowHost, text: str) -> None:
    flow = compiled([step("a", {"v": {"$input": "v"}}), step("b", {"v": ref("a", "$.v")})], [ref("b", "v")])
    assert await execute_flow(flow, f'{{"v":{text}}}', {}, host, TASK) == f"[{text}]"


async def test_only_what_the_output_needs_runs_and_each_step_once(host: FlowHost) -> None:
    steps = [step("a"), step("b", ref("a")), step("c", [ref("a"), ref("b")]), step("unneeded", ref("c"))]
    assert await run(compiled(steps, [ref("c"), ref("c"), ref("a")]), host=host) == [[None, None], [None, None], None]
    assert order(host) == ["a", "b", "c"]


async def test_an_unneeded_step_that_cannot_work_does_no_harm(host: FlowHost) -> None:
    assert await run(compiled([step("bad", MISSING), step("a", 1)], ref("a")), host=host) == 1
    assert order(host) == ["a"]


@pytest.mark.parametrize(("value", "chosen"), [(True, "yes"), (False, "no"), (None, "no")])
async def test_only_the_chosen_branch_runs(host: FlowHost, value, chosen: str) -> None:
    steps = [step("c", {"$input": "$"}), step("yes", "yes"), step("no", "no")]
    assert await run(compiled(steps, {"$if": ref("c"), "then": ref("yes"), "else": ref("no")}), value, host) == chosen
    assert order(host) == ["c", chosen]


async def test_a_failed_condition_is_false(host: FlowHost) -> None:
    steps = [step("c", component="/fail"), step("no", "no")]
    assert await run(compiled(steps, {"$if": ref("c"), "then": 1, "else": ref("no")}), host=host) == "no"


async def test_coalesce_runs_no_more_than_it_needs(host: FlowHost) -> None:
    steps = [step("a"), step("b", 2), step("c", 3)]
    assert await run(compiled(steps, {"$coalesce": [ref("a", "x"), ref("b"), ref("c")]}), host=host) == 2
    assert order(host) == ["a", "b"]


async def test_independent_steps_run_at_the_same_time(host: FlowHost, blocking: Blocking) -> None:
    steps = [step("a", component="/block"), step("b", component="/block"), step("c", [ref("a"), ref("b")])]
    running = asyncio.create_task(run(compiled(steps, ref("c")), host=host))
    await blocking.all_started("a", "b")
    blocking.gates["b"].set_result("2")
    blocking.gates["a"].set_result("1")
    assert await running == [1, 2]


async def test_a_failure_tells_what_the_component_said(host: FlowHost) -> None:
    host.components["/fail"] = failing(-32100, "no luck", '{"b":1e400}')
    error = await failure(compiled([step("a", component="/fail"), step("b", ref("a"))], ref("b")), host)
    assert error == ItemError(code=-32100, message="no luck", data='{"b":1e400}')


async def test_a_failure_cancels_what_runs_beside_it(host: FlowHost, blocking: Blocking) -> None:
    steps = [step("a", component="/block"), step("b", component="/block"), step("c", [ref("a"), ref("b")])]
    running = asyncio.create_task(run(compiled(steps, ref("c")), host=host))
    await blocking.all_started("a", "b")
    blocking.fail("b")
    with pytest.raises(ItemFailure, match="b failed"):
        await running
    assert blocking.cancelled == ["a"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_that_decides_nothing_cancels_nothing(host: FlowHost, blocking: Blocking) -> None:
    steps = [step("a", component="/block"), step("b", component="/block")]
    output = {"a": ref("a"), "b": {"$if": ref("b"), "then": 1, "else": "no b"}}
    running = asyncio.create_task(run(compiled(steps, output), host=host))
    await blocking.all_started("a", "b")
    blocking.fail("b")
    await asyncio.sleep(0)
    blocking.gates["a"].set_result("1")
    assert await running == {"a": 1, "b": "no b"}


async def test_what_the_output_no_longer_waits_for_is_cancelled(host: FlowHost, blocking: Blocking) -> None:
    """`c` fails with its first input; its second one is still running when the output is there."""
    steps = [step("a", component="/block"), step("b", component="/block"), step("c", [ref("a"), ref("b")])]
    running = asyncio.create_task(run(compiled(steps, {"$if": ref("c"), "then": 1, "else": 2}), host=host))
    await blocking.all_started("a", "b")
    blocking.fail("a")
    assert await running == 2
    assert blocking.cancelled == ["b"]


async def test_cancelling_cancels_all_steps(host: FlowHost, blocking: Blocking) -> None:
    steps = [
        step("a", component="/block"),
        step("b", component="/block"),
        step("m", component="/block", mustExecute=True),
    ]
    running = asyncio.create_task(run(compiled(steps, [ref("a"), ref("b")]), host=host))
    await blocking.all_started("a", "b", "m")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(blocking.cancelled) == ["a", "b", "m"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_component_that_is_cancelled_from_elsewhere_fails(host: FlowHost, blocking: Blocking) -> None:
    running = asyncio.create_task(run(compiled([step("a", component="/block")], ref("a")), host=host))
    await blocking.all_started("a")
    blocking.gates["a"].cancel()
    with pytest.raises(ItemFailure, match="cancelled"):
        await running


async def test_forced_steps_run_with_all_that_they_need(host: FlowHost) -> None:
    steps = [step("a", 1), step("m", ref("a"), mustExecute=True), step("b", 2)]
    assert await run(compiled(steps, {"$input": "$"}), 7, host) == 7
    assert order(host) == ["a", "m"]


async def test_the_item_waits_for_forced_steps(host: FlowHost, blocking: Blocking) -> None:
    running = asyncio.create_task(run(compiled([step("m", component="/block", mustExecute=True)], 1), host=host))
    await blocking.all_started("m")
    assert not running.done()
    blocking.gates["m"].set_result("null")
    assert await running == 1


@pytest.mark.parametrize(
    "forced", [step("m", component="/fail", mustExecute=True), step("m", MISSING, mustExecute=True)]
)
async def test_a_failed_forced_step_fails_only_who_needs_it(host: FlowHost, forced) -> None:
    assert await run(compiled([forced], 1), host=host) == 1
    await failure(compiled([forced], ref("m")), host)


async def test_forced_steps_run_to_their_end_when_the_output_fails(host: FlowHost, blocking: Blocking) -> None:
    steps = [
        step("a", component="/block"),
        step("m", ref("a"), component="/block", mustExecute=True),
        step("b", component="/block"),
        step("c", [ref("a"), ref("b")]),
    ]
    running = asyncio.create_task(run(compiled(steps, [ref("c"), MISSING]), host=host))
    await blocking.all_started("a")
    blocking.gates["a"].set_result("1")
    await blocking.all_started("m")
    blocking.gates["m"].set_result("2")
    with pytest.raises(ItemFailure, match="nowhere"):
        await running
    assert order(host) == ["a", "m"]
    assert blocking.cancelled == []


async def test_a_failed_output_stops_what_only_it_needed(host: FlowHost, blocking: Blocking) -> None:
    steps = [
        step("a", component="/block"),
        step("b", component="/block"),
        step("c", ref("a")),
        step("m", ref("a"), component="/block", mustExecute=True),
        step("f", component="/block"),
    ]
    running = asyncio.create_task(run(compiled(steps, [ref("c"), ref("b"), ref("f")]), host=host))
    await blocking.all_started("a", "b", "f")
    blocking.fail("f")
    blocking.gates["a"].set_result("1")
    await blocking.all_started("m")
    assert blocking.cancelled == ["b"]
    blocking.gates["m"].set_result("2")
    with pytest.raises(ItemFailure, match="f failed"):
        await running
    assert {task.step_id for *_, task in host.calls} == {"a", "b", "f", "m"}


@pytest.mark.parametrize(("default", "output"), [({}, None), ({"defaultValue": {"$input": "$"}}, {"$input": "$"})])
async def test_use_default(host: FlowHost, default, output) -> None:
    steps = [step("a", component="/fail", onError={"action": "useDefault", **default})]
    assert await run(compiled(steps, ref("a")), 5, host) == output


async def test_on_error_is_not_about_inputs_without_value(host: FlowHost) -> None:
    error = await failure(compiled([step("a", MISSING, onError={"action": "useDefault"})], ref("a")), host)
    assert error == ItemError(code=-32200, message="Input path $.nowhere not found")
    assert host.calls == []


@pytest.mark.parametrize(
    ("on_error", "attempts"), [({"action": "retry"}, 4), ({"action": "retry", "maxRetries": 1}, 2)]
)
async def test_retries_are_bounded(host: FlowHost, on_error, attempts: int) -> None:
    error = await failure(compiled([step("a", component="/fail", onError=on_error)], ref("a")), host)
    assert error.message == "it failed"
    assert [attempt for _, _, attempt, _ in host.calls] == list(range(1, attempts + 1))
    assert {task.scope for *_, task in host.calls} == {"run/0/a"}


async def test_a_retry_may_succeed(host: FlowHost) -> None:
    async def second_time(text: str, attempt: int, task: Task) -> str:
        return await (echo if attempt == 2 else failing())(text, attempt, task)

    host.components["/second"] = second_time
    steps = [step("a", 5, component="/second", onError={"action": "retry"})]
    assert await run(compiled(steps, ref("a")), host=host) == 5


async def refuse(text: str, attempt: int, task: Task) -> str:
    raise Overloaded("too much", data="[1]")


async def go_down(text: str, attempt: int, task: Task) -> str:
    raise Unavailable("the server is shutting down")


async def break_down(text: str, attempt: int, task: Task) -> str:
    raise ZeroDivisionError


async def test_errors_of_the_host_fail_the_step(host: FlowHost) -> None:
    host.components["/refuse"] = refuse
    error = await failure(compiled([step("a", component="/refuse")], ref("a")), host)
    assert error == ItemError(code=Overloaded.code, message="too much", data="[1]")
    steps = [step("a", {"blob_id": "0" * 64}, component="/builtin/get_blob")]
    assert (await failure(compiled(steps, ref("a")), host)).code == NotFound.code


@pytest.mark.parametrize(("component", "error"), [(go_down, Unavailable), (break_down, ZeroDivisionError)])
@pytest.mark.parametrize("on_error", [{"action": "fail"}, {"action": "useDefault"}, {"action": "retry"}])
async def test_what_is_no_failure_passes_through(host: FlowHost, component, error, on_error) -> None:
    host.components["/x"] = component
    steps = [step("a", component="/x", onError=on_error), step("b", component="/block")]
    with pytest.raises(error):
        await run(compiled(steps, [ref("a"), ref("b")]), host=host)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_chains_may_be_long(host: FlowHost) -> None:
    steps = [step("s0", {"$input": "$"})]
    steps += [step(f"s{n}", ref(f"s{n - 1}")) for n in range(1, 5_000)]
    assert await run(compiled(steps, ref("s4999")), {"k": 1}, host) == {"k": 1}
    assert order(host) == [f"s{n}" for n in range(5_000)]


async def test_long_chains_may_fail(host: FlowHost) -> None:
    steps = [step("s0", component="/fail")]
    steps += [step(f"s{n}", ref(f"s{n - 1}")) for n in range(1, 5_000)]
    assert (await failure(compiled(steps, ref("s4999")), host)).message == "it failed"


async def test_long_work_leaves_room_for_others(host: FlowHost) -> None:
    steps = [step(f"s{n}", n) for n in range(2_000)]
    flow = compiled(steps, [ref(f"s{n}") for n in range(2_000)])
    running = asyncio.create_task(execute_flow(flow, "null", {}, host, TASK._replace(work=item_work())))
    turns = 0
    while not running.done():
        await asyncio.sleep(0)
        turns += 1
    assert json.loads(await running) == list(range(2_000))
    assert turns > 10


async def test_variables_and_their_defaults(host: FlowHost) -> None:
    schemas = {"properties": {"variables": {"properties": {"a": {"default": 1}, "b": {"default": 2}}}}}
    flow = compiled([step("s", [{"$variable": "a"}, {"$variable": "b"}])], ref("s"), schemas=schemas)
    assert await run(flow, host=host, variables={"a": 10, "unused": 0}) == [10, 2]


async def test_items_of_one_flow_do_not_meet(host: FlowHost) -> None:
    flow = compiled([step("a", {"$input": "$"})], ref("a"))
    tasks = [TASK._replace(item_index=n) for n in range(50)]
    results = await asyncio.gather(*(execute_flow(flow, str(n), {}, host, task) for n, task in enumerate(tasks)))
    assert [json.loads(text) for text in results] == list(range(50))


def test_scopes_tell_tasks_apart() -> None:
    paths: list[tuple[str | int, ...]] = [(), ("a",), ("a", 0, "b"), ("a/0/b",), ("a", 0)]
    tasks = [TASK.within(*path) for path in paths] + [TASK._replace(item_index=1)]
    assert TASK.scope == "run/0"
    assert TASK.within("a", 0, "b").scope == "run/0/a/0/b"
    assert len({task.scope for task in tasks}) == len(tasks)
    assert [task.step_id for task in tasks] == [None, "a", "b", "a/0/b", None, None]


async def test_thousands_of_steps_that_are_needed_together_leave_turns_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    demanded = [0]
    demand = _FlowExecution._demand

    def counted_demand(execution: _FlowExecution, step_id: str) -> None:
        demanded[-1] += 1
        demand(execution, step_id)

    async def counted_checkpoint() -> None:
        demanded.append(0)

    monkeypatch.setattr(_FlowExecution, "_demand", counted_demand)
    monkeypatch.setattr(ALONE, "checkpoint", counted_checkpoint)
    count = 2_000
    steps = [step(f"s{index}", index, mustExecute=True) for index in range(count)]
    steps.append(step("all", [ref(f"s{index}") for index in range(count)]))
    assert await run(compiled(steps, ref("all")), None, FlowHost({"/echo": echo})) == [*range(count)]
    assert max(demanded) <= 256
