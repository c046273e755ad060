"""Both Python clients end runs, find them and follow sets of them: on one process, on workers, and through a relay."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import (
    AsyncRunsClient,
    BulkProgress,
    CaughtUp,
    RunFilter,
    RunNotEnded,
    RunNotFound,
    RunOrder,
    RunsClient,
    RunSet,
    RunState,
    SetUpdate,
    StepState,
)
from tests.integration.test_client import ECHO, GATED, MISSING_RUN, User, values
from tests.support.command_line import CommandLine
from tests.support.component_server import Call, ComponentServer
from tests.support.stream_proxy import StreamProxy

Serve = Callable[[], AbstractAsyncContextManager[str]]


class Held:
    """A component that holds each value until it is let through."""

    def __init__(self) -> None:
        self._through: defaultdict[Any, asyncio.Event] = defaultdict(asyncio.Event)

    def let_through(self, value: Any) -> None:
        self._through[value].set()

    async def answer(self, call: Call) -> None:
        value = call.message["params"]["input"]
        await self._through[value].wait()
        await call.result({"output": value})


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture(params=["one process", "workers", "relay"])
def serve(request: pytest.FixtureRequest, held: Held, tmp_path: Path) -> Serve:
    """Serves in each mode; the address of the gateway."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        commands = CommandLine(tmp_path)
        async with ComponentServer(held.answer).running() as url:
            workers = ("--workers", "2") if request.param == "workers" else ()
            settings = ("--state", str(tmp_path / "runs.db"), "--component", f"/gate={url}", *workers)
            async with commands.serving(*settings) as serving:
                if request.param != "relay":
                    yield serving.grpc
                    return
                async with commands.serving("--runtime", f"grpc://{serving.grpc}") as relay:
                    yield relay.grpc

    return serve


@asynccontextmanager
async def users(address: str) -> AsyncIterator[list[User]]:
    """A user of each client."""
    async with AsyncRunsClient(address) as client:
        with RunsClient(address) as blocking:
            yield [User(client), User(blocking)]


async def test_runs_are_found_looked_into_and_ended(serve: Serve, held: Held) -> None:
    async with serve() as address, users(address) as both:
        for number, user in enumerate(both):
            await find(user, {"client": str(number)})
            await cancel_one(user, held)
            await end_many(user, {"client": str(number)})


async def find(user: User, labels: dict[str, str]) -> None:
    flow_id = await user.call("put_flow", ECHO)
    runs = [
        (await user.call("submit_and_wait", flow_id, [number], labels={**labels, "n": str(number)})).run_id
        for number in range(5)
    ]
    wanted = RunFilter(states=[RunState.SUCCESS], labels=labels)
    found = await user.all("runs", wanted, order=RunOrder.OLDEST_FIRST, page_size=2)
    assert [run.run_id for run in found] == runs
    assert [run.labels["n"] for run in found] == list("01234")
    assert [run.run_id for run in await user.all("runs", wanted)] == runs[::-1]
    page = await user.call("runs_page", wanted, page_size=2, include_total=True)
    assert (len(page.runs), page.total_size) == (2, 5)
    rest = await user.call("runs_page", wanted, page_size=5, page_token=page.next_page_token)
    assert [run.run_id for run in page.runs + rest.runs] == runs[::-1]
    assert rest.next_page_token == ""
    for run_id in runs[1:]:
        await user.call("delete", run_id)
    with pytest.raises(RunNotFound):
        await user.call("get", runs[1])
    assert [run.run_id for run in await user.all("runs", wanted)] == runs[:1]


async def cancel_one(user: User, held: Held) -> None:
    flow_id = await user.call("put_flow", GATED)
    run_id = (await user.call("submit", flow_id, ["a", "b", "c"], max_concurrency=1)).run_id
    held.let_through("a")
    async with aclosing(user.each("results", run_id)) as results:
        assert (await anext(results)).value == "a"
    first, second, third = await executing(user, run_id)
    assert (first.status, first.result.value, first.input) == (RunState.SUCCESS, "a", "a")
    assert [(step.component, step.status) for step in second.steps] == [("/gate/echo", StepState.RUNNING)]
    assert (third.status, third.input, third.result) == (RunState.PENDING, "c", None)
    assert [item.item_index for item in await user.all("items", run_id, states=[RunState.PENDING], page_size=1)] == [2]
    with pytest.raises(RunNotEnded):
        await user.call("delete", run_id)
    cancelled = await user.call("cancel", run_id, reason="late", wait=True)
    assert (cancelled.status, cancelled.cancel_reason) == (RunState.CANCELLED, "late")
    assert (cancelled.items.success, cancelled.items.cancelled) == (1, 2)
    assert await user.call("cancel", run_id, reason="again") == cancelled
    whole = await user.call("get", run_id, include_results=True)
    assert values([result for result in whole.results if result.status is RunState.SUCCESS]) == ["a"]
    assert [item.status for item in await user.all("items", run_id)] == [RunState.SUCCESS, *[RunState.CANCELLED] * 2]
    with pytest.raises(RunNotFound):
        await user.call("cancel", MISSING_RUN)


async def executing(user: User, run_id: str) -> list[Any]:
    """The items of a run, once its second one executes a step."""
    while True:
        items: list[Any] = await user.all("items", run_id, include_inputs=True)
        if any(step.status is StepState.RUNNING for step in items[1].steps):
            return items


async def end_many(user: User, labels: dict[str, str]) -> None:
    flow_id = await user.call("put_flow", GATED)
    runs = [(await user.call("submit", flow_id, [1], labels=labels)).run_id for _ in range(3)]
    wanted = RunFilter(labels=labels)
    progress = await user.all("delete_many", wanted)
    # One that `find` has left.
    assert (progress[0].matched, progress[-1]) == (4, BulkProgress(4, 1, 3))
    progress = await user.all("cancel_many", wanted, reason="end")
    assert progress[-1] == BulkProgress(3, 3, 0)
    assert {(await user.call("get", run_id)).cancel_reason for run_id in runs} == {"end"}
    progress = await user.all("delete_many", wanted, cancel=True)
    assert progress[-1] == BulkProgress(3, 3, 0)
    assert await user.all("runs", wanted) == []


async def test_a_set_that_is_cut_anywhere_is_what_the_list_says(serve: Serve, held: Held) -> None:
    async with serve() as address, users(address) as both:
        for number, user in enumerate(both):
            async with StreamProxy(address, [1, 2, 0, 1, 3]).running() as proxy, users(proxy.address) as cut:
                await asyncio.wait_for(follow(cut[number], user, held, number), timeout=60)
                assert proxy.cuts == 5


async def follow(cut: User, user: User, held: Held, number: int) -> None:
    """Follow a set through a proxy while runs come, change, end and are deleted."""
    labels = {"client": str(number)}
    echo, gated = await user.call("put_flow", ECHO), await user.call("put_flow", GATED)
    runs = [(await user.call("submit_and_wait", echo, [1], labels=labels)).run_id for _ in range(4)]
    runs.append((await user.call("submit", gated, [number], labels=labels)).run_id)
    wanted, picture, seen = RunFilter(labels=labels), RunSet(), set()

    async def listed() -> dict[str, RunState]:
        return {run.run_id: run.status for run in await user.all("runs", wanted)}

    async with aclosing(cut.each("watch_set", wanted)) as events:
        async for event in events:
            assert not event.restarted
            if isinstance(event, SetUpdate):
                assert (event.run_id, event.revision) not in seen, "nothing comes twice"
                seen.add((event.run_id, event.revision))
            picture.add(event)
            if isinstance(event, CaughtUp) and len(picture.runs) == len(runs):
                break
        assert {run_id: run.status for run_id, run in picture.runs.items()} == await listed()
        await user.call("delete", runs[0])
        new = (await user.call("submit", gated, ["new"], labels=labels)).run_id
        await user.call("cancel", new)
        held.let_through(number)
        await user.call("wait", runs[-1])
        expected = await listed()
        assert expected == {**dict.fromkeys(runs[1:], RunState.SUCCESS), new: RunState.CANCELLED}
        while {run_id: run.status for run_id, run in picture.runs.items()} != expected:
            picture.add(await anext(events))


async def test_a_set_goes_on_after_the_gateway_was_killed(held: Held, tmp_path: Path) -> None:
    commands, caught_up = CommandLine(tmp_path), asyncio.Semaphore(0)

    async def watch(user: User) -> tuple[RunSet, list[Any]]:
        """Follow all runs until one with the label `last` has ended."""
        picture, events = RunSet(), []
        async with aclosing(user.each("watch_set", include_results=True)) as following:
            async for event in following:
                events.append(event)
                picture.add(event)
                if isinstance(event, CaughtUp):
                    caught_up.release()
                if any(run.finished and "last" in run.labels for run in picture.runs.values()):
                    break
        return picture, events

    async with ComponentServer(held.answer).running() as url:
        settings = ("--state", str(tmp_path / "runs.db"), "--component", f"/gate={url}")
        async with commands.serving(*settings) as serving, users(serving.grpc) as both:
            user = both[0]
            echo, gated = await user.call("put_flow", ECHO), await user.call("put_flow", GATED)
            for number in range(3):
                await user.call("submit_and_wait", echo, [number])
            running = (await user.call("submit", gated, ["r"])).run_id
            watches = [asyncio.create_task(watch(each)) for each in both]
            for _ in both:
                await caught_up.acquire()
            serving.process.kill()
            await serving.process.wait()
            async with commands.serving(*settings, grpc=serving.grpc):
                held.let_through("r")
                await user.call("wait", running)
                await user.call("submit_and_wait", echo, [4], labels={"last": ""})
                listed = {run.run_id: run.status for run in await user.all("runs")}
                for picture, events in await asyncio.gather(*watches):
                    assert {run_id: run.status for run_id, run in picture.runs.items()} == listed
                    assert {value for run in picture.runs.values() for value in values(run.results)} == {
                        0,
                        1,
                        2,
                        4,
                        "r",
                    }
                    assert any(event.reconnected for event in events)
                    assert not any(event.restarted for event in events)
