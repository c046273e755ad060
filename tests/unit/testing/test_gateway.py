"""The gateway for the tests of applications."""

import asyncio
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.client import AsyncRunsClient, GatewayError, InvalidFlow, RunFilter, RunsClient, RunState
from gateway.server.settings import StartError
from gateway.testing import ComponentContext, ComponentFunction, InMemoryGateway, in_memory_gateway


def flow(component: str, **step: Any) -> dict[str, Any]:
    """A flow that is one step."""
    return {
        "steps": [{"id": "only", "component": component, "input": {"$input": "$"}, **step}],
        "output": {"$step": "only"},
    }


def double(value: int) -> int:
    return 2 * value


async def later(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def values(client: RunsClient, component: str, *inputs: Any, **step: Any) -> list[Any]:
    """The outputs of a component for these inputs."""
    run = client.submit_and_wait(client.put_flow(flow(component, **step)), inputs)
    assert run.status is RunState.SUCCESS, run.results
    return [result.value for result in run.results or ()]


def failed(client: RunsClient, component: str, value: Any) -> Any:
    """The error of a component for an input."""
    run = client.submit_and_wait(client.put_flow(flow(component)), [value])
    assert run.results is not None
    return run.results[0].error


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = {thread.name for thread in set(threading.enumerate()) - before if not thread.daemon}
    assert {name for name in left if "gateway" in name or "component" in name} == set()


@pytest.mark.parametrize("function", [double, later])
def test_functions_are_components(function: ComponentFunction) -> None:
    with in_memory_gateway(components={"/python/double": function}) as gateway, gateway.client() as client:
        assert values(client, "/python/double", 1, 2, 3) == [2, 4, 6]


def test_any_json_goes_through() -> None:
    value = {"text": 'ü€\U0001f600"\\', "large": 10**30, "nothing": None, "nested": [[{}], True, 1.5]}
    with in_memory_gateway({"/echo": lambda value: value}) as gateway, gateway.client() as client:
        assert values(client, "/echo", value, *range(40)) == [value, *range(40)]


def test_large_values() -> None:
    with in_memory_gateway({"/long": lambda n: "x" * n, "/length": len}) as gateway, gateway.client() as client:
        assert [len(value) for value in values(client, "/long", 3_000_000)] == [3_000_000]
        assert values(client, "/length", "x" * 3_000_000) == [3_000_000]


def test_a_function_may_look_at_its_context() -> None:
    contexts = []

    def fail_once(value: int, context: ComponentContext) -> int:
        contexts.append(context)
        if context.attempt == 1:
            raise OSError("not yet")
        return value

    with in_memory_gateway({"/flaky": fail_once}) as gateway, gateway.client() as client:
        run = client.submit_and_wait(client.put_flow(flow("/flaky", onError={"action": "retry"})), [5])
    assert [(context.component, context.step_id, context.run_id, context.attempt) for context in contexts] == [
        ("/flaky", "only", run.run_id, 1),
        ("/flaky", "only", run.run_id, 2),
    ]


def test_an_exception_fails_the_step() -> None:
    def fail(value: int) -> int:
        raise ValueError(f"{value} is too few")

    with in_memory_gateway({"/fail": fail}) as gateway, gateway.client() as client:
        error = failed(client, "/fail", 3)
    assert (error.code, error.message) == (-32100, "ValueError: 3 is too few")
    assert error.data["component"] == "/fail"
    assert "raise ValueError" in error.data["traceback"]


class Unreadable(dict[str, Any]):
    def items(self) -> Any:
        raise LookupError("no items")


@pytest.mark.parametrize(
    "output",
    [{1, 2}, float("nan"), object(), "\ud800", {1: 1, "1": 2}, [({"a": {None: 1}},)], Unreadable(a=1)],
)
def test_an_output_that_is_no_json_fails_the_step(output: Any) -> None:
    with in_memory_gateway({"/odd": lambda _: output}) as gateway, gateway.client() as client:
        error = failed(client, "/odd", None)
    assert error.message.startswith("component /odd has returned a value that JSON does not have: ")


@pytest.mark.parametrize("function", ["plain", "async"])
def test_a_function_that_raises_cancelled_error_fails_the_step(function: str) -> None:
    def plain(value: int) -> int:
        raise asyncio.CancelledError

    async def asynchronous(value: int) -> int:
        task = asyncio.ensure_future(later(value))
        task.cancel()
        return await task

    with (
        in_memory_gateway({"/f": plain if function == "plain" else asynchronous}) as gateway,
        gateway.client() as client,
    ):
        error = failed(client, "/f", 3)
    assert (error.code, error.message) == (-32100, "CancelledError")
    assert "in plain" in error.data["traceback"] or "await task" in error.data["traceback"]


def test_an_exception_without_text_fails_the_step() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def fail(value: int) -> int:
        raise Unprintable

    with in_memory_gateway({"/f": fail}) as gateway, gateway.client() as client:
        error = failed(client, "/f", 3)
    assert (error.code, error.message) == (-32100, "Unprintable: <unprintable>")


def test_a_component_that_is_not_there_is_refused() -> None:
    with (
        in_memory_gateway({"/python/double": double}) as gateway,
        gateway.client() as client,
        pytest.raises(InvalidFlow, match="/python/tripel"),
    ):
        client.submit(client.put_flow(flow("/python/tripel")), [1])


def test_unusable_components_are_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="component 'double'"):
        in_memory_gateway({"double": double})
    with pytest.raises(ValueError, match="component 5"):
        in_memory_gateway({5: double})  # type: ignore[dict-item]


def test_both_fronts_are_served() -> None:
    with in_memory_gateway() as gateway:
        with RunsClient(gateway.address) as client:
            flow_id = client.put_flow({"output": {"$input": "$"}})
        call = {"jsonrpc": "2.0", "id": 1, "method": "runs/submit"}
        body = json.dumps({**call, "params": {"flowId": flow_id, "inputs": [7], "wait": True}}).encode()
        request = urllib.request.Request(gateway.http_url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            assert json.load(response)["result"]["status"] == "success"


def test_a_component_may_wait_for_runs_of_the_same_gateway() -> None:
    gateway: InMemoryGateway

    def sum_of_doubles(numbers: list[int]) -> int:
        with gateway.client() as client:
            return sum(values(client, "/double", *numbers))

    with in_memory_gateway({"/double": double, "/sum": sum_of_doubles}) as gateway, gateway.client() as client:
        assert values(client, "/sum", [1, 2], [3], []) == [6, 6, 0]


def test_gateways_side_by_side_and_one_after_the_other() -> None:
    for _ in range(2):
        with (
            in_memory_gateway({"/f": lambda _: "one"}) as one,
            in_memory_gateway({"/f": lambda _: "two"}) as two,
            one.client() as first,
            two.client() as second,
        ):
            assert values(first, "/f", 0) + values(second, "/f", 0) == ["one", "two"]
            with pytest.raises(GatewayError):
                second.get(first.submit(first.put_flow(flow("/f")), [0]).run_id)


def test_a_gateway_that_runs_is_not_entered_again() -> None:
    gateway = in_memory_gateway({"/double": double})
    for _ in range(2):
        with gateway, gateway.client() as client:
            with pytest.raises(RuntimeError, match="running already"), gateway:
                raise AssertionError("it must not be entered")
            assert values(client, "/double", 1) == [2]


async def test_a_gateway_that_runs_in_asyncio_is_not_entered_again() -> None:
    gateway = in_memory_gateway({"/later": later})
    for _ in range(2):
        async with gateway, gateway.async_client() as client:
            with pytest.raises(RuntimeError, match="running already"):
                await gateway.__aenter__()
            with pytest.raises(RuntimeError, match="running already"), gateway:
                raise AssertionError("it must not be entered")
            run = await client.submit_and_wait(await client.put_flow(flow("/later")), [1])
            assert [result.value for result in run.results or ()] == [2]
    with gateway:
        assert gateway.address


@pytest.mark.parametrize(
    "use",
    [
        lambda gateway: gateway.address,
        lambda gateway: gateway.http_address,
        lambda gateway: gateway.http_url,
        lambda gateway: gateway.client(),
        lambda gateway: gateway.async_client(),
    ],
)
def test_outside_its_block_a_gateway_has_no_address(use: Callable[[InMemoryGateway], Any]) -> None:
    gateway = in_memory_gateway()
    with pytest.raises(RuntimeError, match="is not running"):
        use(gateway)
    with gateway:
        pass
    with pytest.raises(RuntimeError, match="is not running"):
        use(gateway)


def test_nothing_listens_after_the_block() -> None:
    with in_memory_gateway() as gateway:
        addresses = [gateway.address, gateway.http_address]
    for address in addresses:
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


def test_an_exception_leaves_the_block_while_a_component_executes() -> None:
    cancelled = threading.Event()
    entered = threading.Event()

    async def hold(value: Any) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def fail() -> None:
        with in_memory_gateway({"/hold": hold}) as gateway, gateway.client() as client:
            client.submit(client.put_flow(flow("/hold")), [1])
            entered.wait()
            raise AssertionError("of the test")

    with pytest.raises(AssertionError, match="of the test"):
        fail()
    assert cancelled.is_set()


async def test_an_asyncio_test_shares_its_event_loop_with_components() -> None:
    entered, released = asyncio.Event(), asyncio.Event()

    async def hold(value: int) -> int:
        entered.set()
        await released.wait()
        return value

    async with in_memory_gateway({"/hold": hold}) as gateway, gateway.async_client() as client:
        run = await client.submit(await client.put_flow(flow("/hold")), [1])
        await entered.wait()
        assert (await client.get(run.run_id)).status is RunState.RUNNING
        released.set()
        assert (await client.wait(run.run_id)).status is RunState.SUCCESS


def test_an_asyncio_client_of_a_gateway_with_its_own_thread() -> None:
    async def use(gateway: InMemoryGateway) -> list[Any]:
        async with AsyncRunsClient(gateway.address) as client:
            run = await client.submit_and_wait(await client.put_flow(flow("/double")), [4])
            return [result.value for result in run.results or ()]

    with in_memory_gateway({"/double": double}) as gateway:
        assert asyncio.run(use(gateway)) == [8]


def test_errors_of_the_start_are_raised_where_the_block_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StartError("no")

    gateway = in_memory_gateway()
    with monkeypatch.context() as patch:
        patch.setattr("gateway.testing.gateway.running", refuse)
        with pytest.raises(StartError), gateway:
            raise AssertionError("it must not start")
    with gateway:
        assert gateway.address


async def test_a_run_that_is_cancelled_cancels_async_functions() -> None:
    executing, ended = asyncio.Event(), asyncio.Event()

    async def hold(value: int) -> int:
        executing.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return value

    async with in_memory_gateway(components={"/hold": hold}) as gateway, gateway.async_client() as client:
        run = await client.submit(await client.put_flow(flow("/hold")), [1], labels={"test": "cancel"})
        await executing.wait()
        cancelled = await client.cancel(run.run_id, reason="enough", wait=True)
        assert ended.is_set()
        assert (cancelled.status, cancelled.cancel_reason) == (RunState.CANCELLED, "enough")
        listed = [each async for each in client.runs(RunFilter(labels={"test": "cancel"}))]
        assert [each.run_id for each in listed] == [run.run_id]


def test_what_a_plain_function_returns_after_the_cancel_is_dropped() -> None:
    executing, release = threading.Event(), threading.Event()

    def hold(value: int) -> int:
        executing.set()
        release.wait()
        return value

    with in_memory_gateway(components={"/hold": hold}) as gateway, gateway.client() as client:
        run = client.submit(client.put_flow(flow("/hold")), [1])
        executing.wait()
        # A thread cannot be ended from outside: it counts as ended for the run.
        assert client.cancel(run.run_id, wait=True).status is RunState.CANCELLED
        release.set()
        assert client.get(run.run_id, include_results=True).items.success == 0
