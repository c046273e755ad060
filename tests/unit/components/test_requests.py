import asyncio

import pytest

from gateway.components.limits import Limits
from gateway.components.requests import ALWAYS_SERVED, ComponentRequests
from gateway.concurrency.memory_account import MemoryAccount


async def waits(waiting: "asyncio.Task[None]") -> bool:
    """Whether a task still waits when everything else has had its turn."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not waiting.done()


async def test_an_execution_has_so_many_requests_at_once() -> None:
    requests = ComponentRequests(Limits(pending=2)).of_execution()
    first = requests.enter(10)
    requests.enter(10)
    waiting = asyncio.create_task(requests.wait_for_room(10))
    assert await waits(waiting)
    first.served()
    await waiting


async def test_no_execution_takes_all_and_each_gets_some() -> None:
    requests = ComponentRequests(Limits(pending=1_000, pending_in_all=200))
    numbers = []
    for _ in range(20):
        execution = requests.of_execution()
        while requests.leaves_room(execution.number):
            execution.enter(1)
        numbers.append(execution.number)
    assert numbers[:3] == [100, 50, 25]
    assert set(numbers[3:]) == {ALWAYS_SERVED}


@pytest.mark.parametrize("limits", [Limits(pending_size=50_000), Limits()])
async def test_what_requests_hold_is_counted_and_bounded(limits: Limits) -> None:
    account = MemoryAccount(1_000_000 if limits.pending_size < 1_000_000 else 100_000)
    requests = ComponentRequests(limits, account.share(small=0)).of_execution()
    request = requests.enter(1_000)
    assert account.held == 1_000 + 4_096
    request.hold(45_000)  # its answer
    waiting = asyncio.create_task(requests.wait_for_room(1_000))
    assert await waits(waiting)
    request.served()
    await waiting
    assert account.held == 0


async def test_the_first_request_is_served_in_any_case() -> None:
    share = MemoryAccount(1_000).share()
    requests = ComponentRequests(Limits(pending_size=1), share).of_execution()
    await requests.wait_for_room(1_000_000)
