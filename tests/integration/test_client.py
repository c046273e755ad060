"""Both Python clients against whole gateways: all methods, and every way in which a connection may fail."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import (
    AsyncRunsClient,
    FlowNotFound,
    IdempotencyConflict,
    InvalidFlow,
    InvalidRunId,
    ItemResult,
    Json,
    ResultOrder,
    RunEnded,
    RunNotFound,
    RunsClient,
    RunState,
    RunStatus,
    RunUpdate,
    RunWatch,
    Unavailable,
)
from gateway.testing import InMemoryGateway, in_memory_gateway
from tests.support.command_line import CommandLine
from tests.support.component_server import Call, ComponentServer
from tests.support.stream_proxy import StreamProxy

ECHO = {"steps": [], "output": {"$input": "$"}}
GATED = {"steps": [{"id": "s", "component": "/gate/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
MISSING_RUN = "00000000-0000-0000-0000-000000000000"
MISSING_FLOW = f"sha256:{'0' * 64}"


class User:
    """One interface over both clients: `call` for methods that return, `each` for those that yield."""

    def __init__(self, client: RunsClient | AsyncRunsClient) -> None:
        self.client = client

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        bound: Callable[..., Any] = getattr(self.client, method)
        if isinstance(self.client, RunsClient):
            return await asyncio.to_thread(bound, *arguments, **options)
        return await bound(*arguments, **options)

    async def each(self, method: str, *arguments: Any, **options: Any) -> AsyncGenerator[Any, None]:
        bound: Callable[..., Any] = getattr(self.client, method)
        if isinstance(self.client, RunsClient):
            iterator: Iterator[Any] = bound(*arguments, **options)
            while (value := await asyncio.to_thread(next, iterator, None)) is not None:
                yield value
            return
        async with aclosing(bound(*arguments, **options)) as values:
            async for value in values:
                yield value

    async def all(self, method: str, *arguments: Any, **options: Any) -> list[Any]:
        return [value async for value in self.each(method, *arguments, **options)]


Connect = Callable[..., Any]


@pytest.fixture(params=[RunsClient, AsyncRunsClient])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Makes clients of each kind."""

    @asynccontextmanager
    async def connect(address: str, **options: Any) -> AsyncIterator[User]:
        if request.param is RunsClient:
            with RunsClient(address, **options) as client:
                yield User(client)
        else:
            async with AsyncRunsClient(address, **options) as asynchronous:
                yield User(asynchronous)

    return connect


class Gate:
    """A component that answers as many calls as it lets through."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(0)

    def let_through(self, calls: int) -> None:
        for _ in range(calls):
            self._places.release()

    async def echo(self, value: Any) -> Any:
        await self._places.acquire()
        return value

    async def answer(self, call: Call) -> None:
        await call.result({"output": await self.echo(call.message["params"]["input"])})


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def gate_url(gate: Gate) -> AsyncIterator[str]:
    """The gate as a component server of its own."""
    async with ComponentServer(gate.answer).running() as url:
        yield url


@pytest.fixture
async def gateway(gate: Gate) -> AsyncIterator[InMemoryGateway]:
    async with in_memory_gateway(components={"/gate/echo": gate.echo}) as gateway:
        yield gateway


@pytest.fixture
async def user(gateway: InMemoryGateway, connect: Connect) -> AsyncIterator[User]:
    async with connect(gateway.address) as user:
        yield user


def values(results: list[ItemResult] | None) -> list[Any]:
    return [result.value for result in results or []]


async def test_a_run_and_its_exact_values(user: User) -> None:
    flow_id = await user.call("put_flow", json.dumps(ECHO))
    inputs = [{"n": 2**70}, Json('{"price": 12.30}'), None, "ü"]
    status: RunStatus = await user.call("submit_and_wait", flow_id, inputs, flow_label="nightly")
    assert (status.status, status.items.success, status.flow_label) == (RunState.SUCCESS, 4, "nightly")
    assert status.finished
    assert values(status.results) == [{"n": 2**70}, {"price": 12.3}, None, "ü"]
    assert status.results is not None
    assert status.results[1].value_json == '{"price": 12.30}'
    assert status.completed_at is not None
    assert status.completed_at >= status.created_at
    assert await user.call("get", status.run_id, include_results=True) == status
    assert (await user.call("get", status.run_id)).results is None
    assert await user.all("results", status.run_id) == status.results


async def test_options_of_a_submit_reach_the_run(user: User, gate: Gate) -> None:
    gate.let_through(1)
    flow = {**GATED, "output": {"step": {"$step": "s"}, "v": {"$variable": "v"}}}
    overrides = {"steps": {"s": {"value": {"input": 7}}}}
    status = await user.call(
        "submit_and_wait",
        await user.call("put_flow", flow),
        [1],
        overrides=overrides,
        variables={"v": Json("1e400")},
        max_concurrency=1,
    )
    assert status.results[0].value_json == '{"step":7,"v":1e400}'


async def test_the_same_key_gives_the_same_run(user: User) -> None:
    flow_id = await user.call("put_flow", ECHO)
    first = await user.call("submit", flow_id, [1], idempotency_key="k")
    assert (await user.call("submit", flow_id, [1], idempotency_key="k")).run_id == first.run_id
    assert (await user.call("submit", flow_id, [1])).run_id != first.run_id
    with pytest.raises(IdempotencyConflict):
        await user.call("submit", flow_id, [2], idempotency_key="k")


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("get", [MISSING_RUN], RunNotFound),
        ("wait", [MISSING_RUN], RunNotFound),
        ("get", ["nonsense"], InvalidRunId),
        ("wait", ["nonsense"], InvalidRunId),
        ("submit", [MISSING_FLOW, [1]], FlowNotFound),
        ("submit_stream", [MISSING_FLOW, [1]], FlowNotFound),
        ("submit_and_wait", [MISSING_FLOW, [1]], FlowNotFound),
        ("put_flow", [{"steps": 3}], InvalidFlow),
    ],
)
async def test_what_does_not_pass_is_raised(user: User, method: str, arguments: list[Any], error: type) -> None:
    with pytest.raises(error):
        await user.call(method, *arguments)


@pytest.mark.parametrize("method", ["watch", "results"])
@pytest.mark.parametrize(("run_id", "error"), [(MISSING_RUN, RunNotFound), ("nonsense", InvalidRunId)])
async def test_what_cannot_be_followed_is_not_asked_for_again(
    user: User, method: str, run_id: str, error: type
) -> None:
    with pytest.raises(error):
        await user.all(method, run_id)


async def test_a_gateway_that_is_not_there(connect: Connect) -> None:
    async with connect("127.0.0.1:1", retry_for=0) as user:
        with pytest.raises(Unavailable, match=r"cannot reach the gateway at 127\.0\.0\.1:1"):
            await user.call("get", MISSING_RUN)
        with pytest.raises(Unavailable):
            await user.all("watch", MISSING_RUN)


async def test_each_result_comes_when_its_item_has_finished(user: User, gate: Gate) -> None:
    flow_id = await user.call("put_flow", GATED)
    run_id = (await user.call("submit", flow_id, [1, 2, 3], max_concurrency=1)).run_id
    seen = []
    gate.let_through(1)
    async with aclosing(user.each("results", run_id, order=ResultOrder.BY_COMPLETION)) as results:
        async for result in results:
            seen.append(result.value)
            gate.let_through(1)
    assert seen == [1, 2, 3]


async def test_time_that_is_up_ends_following(user: User) -> None:
    run_id = (await user.call("submit", await user.call("put_flow", GATED), [1])).run_id
    updates = await user.all("watch", run_id, timeout=0.05)
    assert not updates[-1].run.finished
    assert not (await user.call("wait", run_id, timeout=0.05)).finished
    assert (await user.call("wait", run_id, timeout=0, include_results=True)).results == []
    assert await user.all("results", run_id, timeout=0.05) == []
    status = await user.call("submit_and_wait", await user.call("put_flow", GATED), [1], timeout=0.05)
    assert (status.finished, status.results) == (False, [])
    events = await user.all("watch_many", [run_id], timeout=0.05)
    assert events[-1] == (run_id, RunEnded())


async def test_inputs_larger_than_a_message(user: User) -> None:
    flow_id = await user.call("put_flow", ECHO)
    inputs = ["x" * (1 << 20)] * 17
    status = await user.call("submit_and_wait", flow_id, inputs)
    assert values(status.results) == inputs


async def test_inputs_that_are_made_while_they_are_sent(user: User) -> None:
    flow_id = await user.call("put_flow", ECHO)
    run = await user.call("submit_stream", flow_id, (number for number in range(10_000)), flow_label="stream")
    assert (run.flow_label, run.items.total) == ("stream", 10_000)
    assert values(await user.all("results", run.run_id)) == list(range(10_000))


async def test_a_watch_goes_on_after_a_token(user: User) -> None:
    run = await user.call("submit_and_wait", await user.call("put_flow", ECHO), list(range(5_000)))
    first, *rest = await user.all("watch", run.run_id, include_results=True)
    assert rest, "the results do not fit one message"
    again = await user.all("watch", run.run_id, include_results=True, resume_token=first.resume_token)
    assert [update.results for update in again] == [update.results for update in rest]
    assert not any(update.restarted for update in again)


@pytest.mark.parametrize("token", [b"forged", bytes(34), b"x" * 1_000])
async def test_a_forged_token_starts_anew_and_says_so(user: User, token: bytes) -> None:
    run = await user.call("submit_and_wait", await user.call("put_flow", ECHO), [1, 2])
    updates = await user.all("watch", run.run_id, include_results=True, resume_token=token)
    assert [update.restarted for update in updates] == [True] + [False] * (len(updates) - 1)
    assert values([result for update in updates for result in update.results]) == [1, 2]


async def test_many_runs_on_one_stream(user: User, gate: Gate) -> None:
    echo, gated = await user.call("put_flow", ECHO), await user.call("put_flow", GATED)
    finished = (await user.call("submit_and_wait", echo, [1, 2])).run_id
    running = (await user.call("submit", gated, [3])).run_id
    events: dict[str, list[Any]] = {finished: [], running: [], MISSING_RUN: []}
    runs = [finished, MISSING_RUN, RunWatch(running, include_results=True)]
    async with aclosing(user.each("watch_many", runs)) as pairs:
        async for run_id, event in pairs:
            events[run_id].append(event)
            if event == RunEnded():
                gate.let_through(1)
    assert [type(event) for event in events[MISSING_RUN]] == [RunNotFound]
    assert all(event.results == [] for event in events[finished][:-1])
    for run_id in (finished, running):
        assert events[run_id][-1] == RunEnded()
        assert events[run_id][-2].run.finished
    updates = [event for event in events[running] if isinstance(event, RunUpdate)]
    assert values([result for update in updates for result in update.results]) == [3]


ITEMS = 3_200


@pytest.fixture
async def long_run(gateway: InMemoryGateway) -> RunStatus:
    """A run whose results come in several messages."""
    async with AsyncRunsClient(gateway.address) as client:
        return await client.submit_and_wait(await client.put_flow(ECHO), range(ITEMS))


@pytest.mark.parametrize("order", ResultOrder)
async def test_a_stream_that_is_cut_anywhere_folds_to_the_same(
    gateway: InMemoryGateway, connect: Connect, long_run: RunStatus, order: ResultOrder
) -> None:
    async def fold(limits: list[int]) -> tuple[RunStatus, StreamProxy]:
        async with (
            StreamProxy(gateway.address, limits).running() as proxy,
            connect(proxy.address) as user,
        ):
            return await user.call("wait", long_run.run_id, include_results=True, order=order), proxy

    uncut, proxy = await fold([])
    assert sorted(values(uncut.results)) == list(range(ITEMS))
    assert proxy.messages > 3
    for cut in range(proxy.messages + 1):
        limits = [cut]
        status, cutting = await fold(limits)
        assert cutting.cuts == 1
        assert status == uncut
    status, cutting = await fold([2] * 4)
    assert cutting.cuts >= 3
    assert status == uncut


async def test_many_runs_whose_stream_is_cut_anywhere(
    gateway: InMemoryGateway, connect: Connect, long_run: RunStatus
) -> None:
    async with connect(gateway.address) as user:
        other = (await user.call("submit_and_wait", long_run.flow_id, ["a", "b"])).run_id
    runs = [RunWatch(run_id, include_results=True) for run_id in (long_run.run_id, other)]

    async def follow(limits: list[int]) -> tuple[dict[str, list[Any]], int]:
        found: dict[str, list[Any]] = {long_run.run_id: [], other: []}
        ended = []
        async with StreamProxy(gateway.address, limits).running() as proxy, connect(proxy.address) as user:
            async for run_id, event in user.each("watch_many", runs):
                if isinstance(event, RunUpdate):
                    found[run_id] += values(event.results)
                else:
                    assert event == RunEnded()
                    ended.append(run_id)
        assert sorted(ended) == sorted(found)
        return found, proxy.messages

    uncut, messages = await follow([])
    assert uncut == {long_run.run_id: list(range(ITEMS)), other: ["a", "b"]}
    for cut in range(messages):
        assert (await follow([cut]))[0] == uncut


@pytest.mark.parametrize("after", [0, 2])
async def test_a_connection_that_falls_silent_is_made_again(
    gateway: InMemoryGateway, connect: Connect, long_run: RunStatus, after: int
) -> None:
    async with (
        StreamProxy(gateway.address, [after], silent=True).running() as proxy,
        connect(proxy.address) as user,
    ):
        updates = await user.all("watch", long_run.run_id, include_results=True, heartbeat_interval=0.1)
    assert proxy.cuts == 1
    assert any(update.reconnected for update in updates)
    assert values([result for update in updates for result in update.results]) == list(range(ITEMS))


async def test_a_submit_whose_answer_is_lost_makes_one_run(gateway: InMemoryGateway, connect: Connect) -> None:
    async with StreamProxy(gateway.address, [0]).running() as proxy, connect(proxy.address) as user:
        flow_id = await user.call("put_flow", ECHO)
    async with StreamProxy(gateway.address, [0, 0]).running() as proxy, connect(proxy.address) as user:
        run = await user.call("submit", flow_id, [1], idempotency_key="once")
        assert proxy.cuts == 2
        assert (await user.call("submit", flow_id, [1], idempotency_key="once")).run_id == run.run_id


FEW_ITEMS = 8
WATCHERS = 100


@pytest.mark.parametrize("order", ResultOrder)
async def test_watchers_outlive_a_gateway_that_is_killed(
    gate: Gate, gate_url: str, tmp_path: Path, order: ResultOrder
) -> None:
    commands = CommandLine(tmp_path)
    settings = ("--state", str(tmp_path / "runs.db"), "--component", f"/gate={gate_url}")
    seen = asyncio.Semaphore(0)

    async def watch(user: User, run_id: str) -> list[RunUpdate]:
        updates = []
        found = 0
        async for update in user.each("watch", run_id, include_results=True, order=order):
            updates.append(update)
            found += len(update.results)
            if found >= FEW_ITEMS // 2:
                seen.release()
        return updates

    async with commands.serving(*settings) as serving, AsyncRunsClient(serving.grpc) as client:
        with RunsClient(serving.grpc) as blocking:
            run = await client.submit(await client.put_flow(GATED), range(FEW_ITEMS), max_concurrency=1)
            users = [User(client)] * (WATCHERS - 1) + [User(blocking)]
            watches = [asyncio.create_task(watch(user, run.run_id)) for user in users]
            gate.let_through(FEW_ITEMS // 2)
            for _ in users:
                await seen.acquire()
            serving.process.kill()
            await serving.process.wait()
            async with commands.serving(*settings, grpc=serving.grpc):
                gate.let_through(FEW_ITEMS)
                for updates in await asyncio.gather(*watches):
                    assert updates[-1].run.status is RunState.SUCCESS
                    results = [result for update in updates for result in update.results]
                    assert sorted(values(results)) == list(range(FEW_ITEMS))
                    assert any(update.reconnected for update in updates)
                    assert not any(update.restarted for update in updates)
