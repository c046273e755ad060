"""The cost of flows, overrides, paths and templates: one pass, few copies, short steps, errors of bounded length."""

import json
import sys
import tracemalloc
from collections.abc import Callable, Generator
from typing import Any

import pytest

from gateway.adapter.grpc_status import to_status
from gateway.adapter.jsonrpc import error_response
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core import json_text
from gateway.core.errors import MAX_VIOLATIONS, InvalidFlow, InvalidParams, Overloaded, TooLarge
from gateway.core.json_layout import at_once
from gateway.core.json_walk import WINDOW
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.flows import expressions, flow_cache
from gateway.flows.builtins import BuiltinCall, call_builtin
from gateway.flows.execution import execute_flow
from gateway.flows.expression_compiler import compile_expression
from gateway.flows.expressions import Scope, TooLongAtOnce
from gateway.flows.flow import compile_flow
from gateway.flows.flow_cache import FlowCache
from gateway.flows.task import ItemFailure, Task
from gateway.flows.values import NotLookedUp, Value
from tests.support.flow_host import TASK, FlowHost

LENGTH = 1 << 20
MAX_CALLS = 10_000
"""How many calls of functions a step may make: they take a few milliseconds."""


def peak(work: Callable[[], Any]) -> int:
    """The most bytes that some work holds at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def longest_step(steps: Generator[None, None, Any]) -> tuple[int, Any]:
    """The most calls of functions in one step, and the result or the error."""
    calls, longest = 0, 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    result: Any = None
    sys.setprofile(count)
    try:
        while True:
            calls = 0
            next(steps)
            longest = max(longest, calls)
    except StopIteration as end:
        result = end.value
    except InvalidParams as error:
        result = error
    finally:
        sys.setprofile(None)
    return max(longest, calls), result


def filled(unit: str, start: str, end: str, length: int = LENGTH // 8) -> str:
    """A text with as many units in a list as fit."""
    return start + ",".join([unit] * (length // (len(unit) + 1))) + end


def found(value: Value, keys: tuple[str | int, ...]) -> str | None:
    try:
        return value.find(keys)
    except NotLookedUp:
        at_once(value.look_up([keys]))
        return value.find(keys)


@pytest.mark.parametrize("length", [LENGTH // 2, 2 * LENGTH])
def test_a_path_of_450_keys_copies_a_value_a_few_times(length: int) -> None:
    inner = f'"{"x" * length}"'
    value = Value("[" * 450 + inner + "]" * 450)
    assert peak(lambda: found(value, (0,) * 450)) < 10 * length
    assert found(value, (0,) * 450) == inner


def test_a_path_into_members_is_one_pass() -> None:
    text = '{"a":' * 450 + f'"{"x" * 2 * LENGTH}"' + "}" * 450
    assert peak(lambda: found(Value(text), ("a",) * 450)) < 2 * len(text)


def test_an_element_of_a_long_array_is_found_without_the_others() -> None:
    text = filled("0", "[", ",7]", LENGTH)
    last = LENGTH // 2
    assert peak(lambda: found(Value(text), (last,))) < len(text)
    assert found(Value(text), (last,)) == "7"


def test_many_paths_into_a_long_value_are_one_pass() -> None:
    text = filled('{"k":1}', "[", "]", LENGTH)
    paths: list[tuple[str | int, ...]] = [(index, "k") for index in range(0, LENGTH // 10, 50)]
    value = Value(text)
    steps = sum(1 for _ in value.look_up(paths))
    assert {value.find(keys) for keys in paths} == {"1"}
    assert steps < 3 * sum(1 for _ in Value(text).look_up([paths[-1]])) + 3 * len(paths)


def test_a_flow_below_95_arrays_is_not_copied_for_each() -> None:
    text = '{"output":' + "[" * 95 + f'"{"x" * LENGTH}",{{"$input":"$"}}' + "]" * 95 + "}"
    assert peak(lambda: at_once(compile_flow(text))) < 6 * len(text)


def test_overrides_below_90_objects_are_not_copied_for_each() -> None:
    flow = at_once(compile_flow('{"steps":[{"id":"s","component":"/c"}]}'))
    change = '{"k":' * 90 + f'"{"x" * LENGTH}"' + "}" * 90
    overrides = f'{{"s":{{"value":{{"input":{{"$literal":{change}}}}}}}}}'
    assert peak(lambda: at_once(flow.with_overrides(overrides))) < 8 * len(overrides)


FLOWS = {
    "expressions": filled('{"$input":"a"}', '{"output":[', "]}"),
    "members of a coalesce": filled('{"$input":"a"}', '{"output":{"$coalesce":[', "]}}"),
    "texts like names": filled('["$"]', '{"output":[', "]}"),
    "constants": filled("0", '{"output":[', ',{"$input":"a"}]}'),
    "constants of a coalesce": filled("0", '{"output":{"$coalesce":[', "]}}"),
    "empty arrays": filled("[]", '{"output":[', '],"x":{"$foo":1}}'),
    "members": '{"output":{' + "".join(f'"{index}":0,' for index in range(10_000)) + '"a":{"$input":"a"}}}',
    "expressions below arrays": '{"output":' + filled('{"$input":"a"}', "[" * 90, "]" * 90) + "}",
    "steps": '{"steps":[' + ",".join(f'{{"id":"{index}","component":"/{index}"}}' for index in range(4_000)) + "]}",
    "references": '{"steps":[{"id":"0","component":"/a"},{"id":"1","component":"/a","mustExecute":true,"input":'
    + filled('{"$step":"0"}', "[", "]}]}"),
    "no steps": filled("{}", '{"steps":[', "]}"),
    "equal steps": filled('{"id":"a","component":"/a"}', '{"steps":[', "]}"),
    "variables": '{"output":1,"schemas":{"properties":{"variables":{"required":'
    + filled('"r"', "[", "]")
    + ',"properties":{'
    + ",".join(f'"{index}":{{}}' for index in range(8_000))
    + "}}}}}",
    "a path": '{"output":{"$input":"$' + "[0]" * 40_000 + '"}}',
}


@pytest.mark.parametrize("name", FLOWS)
def test_no_step_of_compiling_is_long(name: str) -> None:
    longest, _ = longest_step(compile_flow(FLOWS[name]))
    assert longest < MAX_CALLS


def test_no_step_of_applying_overrides_is_long() -> None:
    steps = ",".join(f'{{"id":"{index}","component":"/a"}}' for index in range(3_000))
    flow = at_once(compile_flow(f'{{"steps":[{steps}]}}'))
    changes = ",".join(f'"{index}":{{"value":{{"input":{{"a":1}}}}}}' for index in range(3_000))
    longest, changed = longest_step(flow.with_overrides(f"{{{changes}}}"))
    assert longest < 2 * MAX_CALLS
    assert len(changed.steps) == 3_000


def test_no_step_of_evaluating_is_long() -> None:
    expression = compile_expression(filled('{"$input":"a"}', "[", "]"), ())
    longest, parts = longest_step(expression.steps(Scope('{"a":1}', {}, {})))
    assert longest < MAX_CALLS
    assert {*json.loads("".join(parts or ()))} == {1}


@pytest.mark.parametrize(
    "text",
    [
        filled('{"$foo":1}', '{"output":[', "]}"),
        filled("{}", '{"steps":[', "]}"),
        '{"output":{"' + "k" * LENGTH + '":{"$foo":1}}}',
        '{"output":{"$step":"' + "s" * LENGTH + '"}}',
        '{"output":{"$' + "x" * LENGTH + '":1}}',
    ],
    ids=["expressions", "steps", "a long path", "a long id", "a long name"],
)
def test_the_error_of_a_flow_with_many_mistakes_is_short(text: str) -> None:
    with pytest.raises(InvalidFlow) as caught:
        at_once(compile_flow(text))
    assert len(caught.value.violations) <= MAX_VIOLATIONS
    assert len(error_response("1", caught.value)) < 128 << 10
    assert len(to_status(caught.value)[2]) < 8 << 10


def test_copies_of_an_input_are_counted_before_they_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "MAX_JSON_BYTES", LENGTH)
    text = f'{{"a":"{"x" * (LENGTH // 4)}"}}'
    nested = '{"$input":"$.a"}'
    for _ in range(40):
        nested = f'{{"$coalesce":[["x",{{"$input":"$.a"}},{nested}]]}}'
    for expression in (filled('{"$input":"$.a"}', "[", "]", 2_000), nested):
        compiled = compile_expression(expression, ())

        def evaluate(compiled: expressions.Expression = compiled) -> None:
            with pytest.raises(TooLongAtOnce):
                compiled.evaluate(Scope(text, {}, {}))
            with pytest.raises(ItemFailure, match="exceeds"):
                at_once(compiled.steps(Scope(text, {}, {})))

        # The last value is not counted before it is there.
        assert peak(evaluate) < 3 * LENGTH


async def test_long_flows_and_overrides_are_refused_before_they_are_parsed() -> None:
    cache = FlowCache(max_bytes=1_000)
    for text in ('{"output":"' + "x" * 1_000 + '"}', '{"output":"' + "é" * 500 + '"}', "not JSON" * 200):
        with pytest.raises(TooLarge, match="flow: a flow of more than 1,000 bytes"):
            await cache.compile(text, text, "flow")
    flow = await cache.compile("a", '{"steps":[{"id":"s","component":"/c"}]}', "data")
    with pytest.raises(TooLarge, match="overrides: overrides of more"):
        await cache.override(flow, "not JSON" * 200)
    half = await cache.compile("b", '{"steps":[{"id":"s","component":"/c","input":"' + "x" * 600 + '"}]}', "data")
    with pytest.raises(TooLarge, match="the flow with them"):
        await cache.override(half, '{"s":{"value":{"onError":{"action":"fail","x":"' + "x" * 500 + '"}}}}')


async def test_compiled_flows_are_bounded_together_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    text = filled('{"$input":"a"}', '{"output":[', "]}", 1 << 16)
    size = at_once(compile_flow(text)).size
    monkeypatch.setattr(flow_cache, "CACHED_BYTES", 3 * size)
    account = MemoryAccount(64 << 20)
    cache = FlowCache(account=account)
    used = [await cache.compile(str(number), text, "data") for number in range(6)]
    assert account.held == 6 * size
    del used[:]
    assert account.held == 3 * size


def test_the_size_of_a_compiled_flow_is_known() -> None:
    names = ",".join(f'{{"$input":"n{index}"}}' for index in range(8_000))
    steps = ",".join(f'{{"id":"s{index}","component":"/c"}}' for index in range(4_000))
    for text in (f'{{"output":[{names}]}}', f'{{"steps":[{steps}]}}'):
        flows: list[Any] = []
        tracemalloc.start()
        flows.append(at_once(compile_flow(text)))
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < 1.2 * flows[0].size


async def test_a_flow_that_finds_no_memory_is_refused() -> None:
    text = filled('{"$input":"a"}', '{"output":[', "]}", 1 << 16)
    with pytest.raises(Overloaded):
        await FlowCache(account=MemoryAccount(1 << 20)).compile("a", text, "data")


async def test_the_input_of_a_built_in_is_read_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No parser gets a long text, and the items of a map are held in about the space of their text."""
    longest = 0

    class Parser:
        def __init__(self, parser: Any) -> None:
            self._parser = parser

        def decode(self, text: str) -> Any:
            nonlocal longest
            longest = max(longest, len(text))
            return self._parser.decode(text)

    for name in ("_OBJECT", "_ARRAY", "_STRING"):
        monkeypatch.setattr(json_text, name, Parser(getattr(json_text, name)))
    given: list[Any] = []

    class Host(FlowHost):
        async def run_flow(self, flow_id: str, inputs: Any, max_concurrency: int | None, task: Task, key: str) -> Any:
            given.append(inputs)
            return RunStatus(
                run_id="r", flow_id=flow_id, status=RunState.SUCCESS, items=ItemStatistics(total=0), created_at=0
            )

    items = ",".join(["12"] * (LENGTH // 3))
    text = f'{{"workflow":{{"output":1}},"items":[{items}],"user_prompt":"{"x" * LENGTH}"}}'
    for name in ("map", "create_messages"):
        await call_builtin(f"/builtin/{name}", BuiltinCall(text, Host(), TASK, execute_flow))
    assert 0 < longest <= 3 * WINDOW
    assert len(given[0]) == LENGTH // 3
    assert given[0].size <= 1.2 * len(items)
