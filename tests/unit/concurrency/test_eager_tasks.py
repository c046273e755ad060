"""Coroutines that take their first step at once are those of tasks in all that they can see."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from gateway.concurrency.eager_tasks import EagerTasks
from tests.support.tasks import all_ended

LIMIT = 30.0

Tasks = list[asyncio.Task[None] | None]


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    yield
    await all_ended()


async def started(*works: Coroutine[Any, Any, None], then: Callable[[Tasks], object] = lambda _: None) -> Tasks:
    """Start coroutines in one callback of the event loop; `then` is called in the same one."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Tasks] = loop.create_future()

    def start() -> None:
        tasks = EagerTasks()
        begun = [tasks.start(work) for work in works]
        then(begun)
        done.set_result(begun)

    loop.call_soon(start)
    return await done


def cancel(tasks: Tasks) -> None:
    for task in tasks:
        assert task is not None
        task.cancel()


async def ended(tasks: Tasks) -> list[object]:
    return await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)


async def test_what_ends_at_once_is_no_task() -> None:
    seen: list[str] = []

    async def work(name: str) -> None:
        assert asyncio.current_task() is not None
        seen.append(name)

    assert await started(work("a"), work("b"), then=lambda _: seen.append("then")) == [None, None]
    assert seen == ["a", "b", "then"]


async def test_what_waits_has_one_task_all_the_time_and_shares_it_with_nobody() -> None:
    seen: dict[str, list[asyncio.Task[Any] | None]] = {"a": [], "b": [], "c": []}

    async def work(name: str) -> None:
        seen[name].append(asyncio.current_task())
        if name != "b":
            for pause in (0, 0.001, 0):
                await asyncio.sleep(pause)
                seen[name].append(asyncio.current_task())

    first, second, third = await started(work("a"), work("b"), work("c"))
    await ended([first, third])
    assert second is None
    assert seen["a"] == [first] * 4
    assert seen["c"] == [third] * 4
    assert first is not third


async def test_a_turn_begins_with_a_task_that_has_not_ended() -> None:
    tasks = EagerTasks()
    seen: list[asyncio.Task[Any] | None] = []
    loop = asyncio.get_running_loop()

    async def work() -> None:
        seen.append(asyncio.current_task())

    async def wait() -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    for _ in range(3):
        loop.call_soon(tasks.start, work())
        await asyncio.sleep(0.001)
    loop.call_soon(tasks.start, wait())
    await asyncio.sleep(0.001)
    assert len(seen) == 5
    assert seen[3] is seen[4]


async def test_a_time_limit_of_the_first_step_holds() -> None:
    ends: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            ends.append("late")

    await ended(await started(work()))
    assert ends == ["late"]


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
async def test_what_is_cancelled_lets_go_of_what_it_waits_for(at_once: bool) -> None:
    inner = asyncio.create_task(asyncio.sleep(600))
    ends: list[str] = []

    async def work() -> None:
        try:
            await inner
        except asyncio.CancelledError:
            assert inner.cancelled()
            ends.append("cancelled")
            raise

    tasks = await started(work(), then=cancel if at_once else lambda _: None)
    if not at_once:
        await asyncio.sleep(0.001)
        cancel(tasks)
    assert isinstance((await ended(tasks))[0], asyncio.CancelledError)
    assert ends == ["cancelled"]


async def test_what_only_gives_way_can_be_cancelled_at_once() -> None:
    ends: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ends.append("ended")

    tasks = await started(work(), then=cancel)
    assert isinstance((await ended(tasks))[0], asyncio.CancelledError)
    assert ends == ["ended"]


async def test_what_catches_its_cancellation_goes_on() -> None:
    ends: list[str] = []

    async def work() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        ends.append("ended")

    assert await ended(await started(work(), then=cancel)) == [None]
    assert ends == ["ended"]


async def test_what_it_waits_for_may_come_before_its_task_begins() -> None:
    coming: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    ends: list[str] = []

    async def work() -> None:
        ends.append(await coming)

    await ended(await started(work(), then=lambda _: coming.set_result("it came")))
    assert ends == ["it came"]


async def test_a_first_step_may_end_as_cancelled() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    assert await started(work()) == [None]


async def test_each_has_a_context_of_its_own() -> None:
    place: ContextVar[str] = ContextVar("place", default="")
    go_on, seen = asyncio.Event(), []

    async def work(name: str) -> None:
        token = place.set(name)
        await go_on.wait()
        seen.append(place.get())
        place.reset(token)

    tasks = await started(work("a"), work("b"), then=lambda _: seen.append(place.get()))
    go_on.set()
    await asyncio.gather(*(task for task in tasks if task is not None))
    assert seen == ["", "a", "b"]
